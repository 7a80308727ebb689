package seg

import (
	"io/fs"
	"time"
)

// Info describes a named segment.
type Info struct {
	Name    string      // as given to Create
	Path    string      // the file
	Kind    string      // what it holds: "segment", "mutex", "value", "array", …
	Type    string      // its element type; "" if it has none
	Count   int         // its number of elements; 0 if it has none
	Size    int         // bytes of data
	Bytes   int         // bytes of memory, bookkeeping and rounding included
	Mode    fs.FileMode // permissions
	UID     int         // owner
	PID     int         // the process that made it, as it saw itself; it may be gone
	Created time.Time
	InUse   bool // some process has it open
}
