package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	cacheDays  = 14 * 24 * time.Hour // what nobody has used for so long goes
	cacheBytes = 2 << 30             // then the oldest, until so much is left
	freshTime  = time.Hour           // a launcher may have looked for it, and not have started it yet
)

// Folders of a cache are named by a hash. Who uses one holds a lock on this file
// in it; that file's time is that of the last use.
const (
	lockName   = ".used"
	goneSuffix = ".gone" // of what is being removed
)

var hashName = regexp.MustCompile(`^[0-9a-f]{16}([0-9a-f]{48})?$`)

// useCached keeps the folders of files from being pruned until release is called,
// and prunes the cache that they are in.
func useCached(files []string) (release func()) {
	held := holdCached(files)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if len(held) > 0 {
			_ = pruneCache(filepath.Dir(filepath.Dir(held[0].Name())), time.Now(), cacheDays, cacheBytes) // next time, then
		}
	}()
	return func() {
		<-done
		letGo(held)
	}
}

func holdCached(files []string) (held []*os.File) {
	for _, name := range files {
		dir := filepath.Dir(name)
		if !hashName.MatchString(filepath.Base(dir)) {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			continue // a cache that cannot be written is not pruned either
		}
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) // without it: at worst pruned in two weeks
		now := time.Now()
		_ = os.Chtimes(f.Name(), now, now)
		held = append(held, f)
	}
	return held
}

func letGo(held []*os.File) {
	for _, f := range held {
		f.Close()
	}
}

type cached struct {
	dir  string
	used time.Time
	size int64
}

// pruneCache removes what has not been used for a time, and then the oldest until
// a number of bytes are left; never what is in use, or was a moment ago.
func pruneCache(dir string, now time.Time, keep time.Duration, limit int64) error {
	all, err := readCache(dir)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b cached) int { return cmp.Compare(b.used.UnixNano(), a.used.UnixNano()) })
	var total int64
	var errs error
	for _, c := range all { // newest first
		total += c.size
		age := now.Sub(c.used)
		if age > max(keep, freshTime) || age > freshTime && total > limit {
			gone, err := c.remove()
			if errs = errors.Join(errs, err); gone {
				total -= c.size
			}
		}
	}
	return errs
}

func readCache(dir string) ([]cached, error) {
	entries, err := os.ReadDir(dir)
	var all []cached
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), goneSuffix); ok && hashName.MatchString(name) {
			_ = os.RemoveAll(filepath.Join(dir, e.Name())) // somebody was stopped in it, or is at it
		}
		if !e.IsDir() || !hashName.MatchString(e.Name()) {
			continue
		}
		c := cached{dir: filepath.Join(dir, e.Name())}
		_ = filepath.WalkDir(c.dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // somebody else removes it
			}
			if st, err := d.Info(); err == nil {
				if st.ModTime().After(c.used) {
					c.used = st.ModTime()
				}
				if !d.IsDir() {
					c.size += st.Size()
				}
			}
			return nil
		})
		all = append(all, c)
	}
	return all, err
}

// remove does nothing to what is in use.
func (c cached) remove() (gone bool, err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // somebody else was faster
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false, nil
	}
	err = os.Rename(c.dir, c.dir+goneSuffix) // at once: nobody finds half of it
	if err == nil {
		err = os.RemoveAll(c.dir + goneSuffix)
	}
	return err == nil, err
}
