//go:build !linux

package main

// nothingLeft cannot tell here.
func (s *stage) nothingLeft() {}
