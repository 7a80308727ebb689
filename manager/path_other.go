//go:build !linux

package manager

import "fmt"

// shortPath refuses what does not fit in a socket address.
func shortPath(path string) (short string, done func(), err error) {
	if len(path) > maxSocketPath {
		return "", nil, fmt.Errorf("the socket's path %s is longer than %d bytes", path, maxSocketPath)
	}
	return path, func() {}, nil
}
