package ringtest

import (
	"io"
	"os"
	"os/exec"
	"testing"
)

// StartChild starts the program of this test once more, for its TestChild alone and
// with more variables in its environment, and returns its standard input and
// output. It is killed with the test.
func StartChild(t testing.TB, env ...string) (child *exec.Cmd, in io.Writer, out io.Reader) {
	t.Helper()
	child = exec.Command(os.Args[0], "-test.run=^TestChild$")
	child.Env = append(os.Environ(), env...)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = child.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		child.Process.Kill()
		child.Wait()
	})
	return child, in, out
}
