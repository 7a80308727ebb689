//go:build unix

package psync

import (
	"io/fs"
	"syscall"
)

// A fileID tells files of one machine apart.
type fileID struct{ dev, ino uint64 }

func idOf(fi fs.FileInfo) fileID {
	st := fi.Sys().(*syscall.Stat_t)
	return fileID{uint64(st.Dev), uint64(st.Ino)}
}
