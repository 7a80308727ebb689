package seg

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// DefaultDir is where named segments are.
const DefaultDir = "/dev/shm"

// maxName leaves the file system's limit of 255 bytes some room.
const maxName = 250

func (o Options) dir() string {
	if o.Dir == "" {
		return DefaultDir
	}
	return o.Dir
}

// path is the file of a named segment. The name must be one plain file name.
func (o Options) path(op, name string) (string, error) {
	reason := ""
	switch {
	case name == "":
		reason = "the name is empty"
	case name == "." || name == "..":
		reason = "the name is a directory's"
	case strings.ContainsAny(name, "/\x00"):
		reason = "the name contains a slash or a NUL byte; use Options.Dir for another directory"
	case len(name) > maxName:
		reason = fmt.Sprintf("the name has %d bytes; at most %d are allowed", len(name), maxName)
	case strings.HasPrefix(name, tempNames):
		reason = "names that start with " + tempNames + " are reserved"
	}
	if reason != "" {
		return "", &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("%w: %s", errName, reason)}
	}
	return filepath.Join(o.dir(), name), nil
}

// tempNames start the names of files that are being made, where the file system
// demands that they have one.
const tempNames = ".multiproc-new."

// errName is fs.ErrInvalid with this package's name in front.
var errName error = &also{"shm", fs.ErrInvalid}
