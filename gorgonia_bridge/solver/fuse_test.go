package solver

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// fused are the instructions of arm64 that round a product and a sum only once.
var fused = regexp.MustCompile(`(?m)^.*\tFN?M(ADD|SUB)[SD]\t.*$`)

// Where the compiler may fuse, it does so nowhere in this package, or peers with
// other processors would come to other bits.
func TestNothingIsFused(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package")
	}
	cmd := exec.Command("go", "build", "-gcflags=-S", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=darwin", "GOARCH=arm64")
	listing, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, listing)
	}
	if !regexp.MustCompile(`\tFMULD\t`).Match(listing) {
		t.Fatal("there is no product in the listing")
	}
	for _, line := range fused.FindAll(listing, -1) {
		t.Errorf("%s", line)
	}
}
