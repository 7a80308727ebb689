package sys

import "strconv"

// procFD is the path under which the process finds its own descriptor.
func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
