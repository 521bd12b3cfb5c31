//go:build !race

package tcp

func sending()  {}
func received() {}
