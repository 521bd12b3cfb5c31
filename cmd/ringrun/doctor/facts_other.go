//go:build !linux

package doctor

import "golang.org/x/sys/unix"

// system fills in what this system tells without a fuss.
func (f *Facts) system() {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
}

// fileSystem tells how much may be written to a folder.
func fileSystem(dir string) (free int64, noExec, noInodes, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false, false, false
	}
	return int64(st.Bavail) * int64(st.Bsize), false, st.Files > 0 && st.Ffree == 0, true
}
