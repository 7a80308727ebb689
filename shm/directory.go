package shm

import (
	"io/fs"
	"time"

	"github.com/go-multiproc/multiproc/internal/seg"
)

// Info describes a named segment, whatever package made it.
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

// Remove deletes the name of a segment, or of a foreign file in the same place.
// Processes that have it open keep it, and the memory goes when the last of them
// closes it. If there is no such name, the error is fs.ErrNotExist.
func Remove(name string, opts ...Options) error { return seg.Remove(name, "", options(opts)) }

// List describes the named segments, of every kind, that this user may open. It
// leaves out foreign files.
func List(opts ...Options) ([]Info, error) { return infos(seg.List(options(opts))) }

// Reap removes the named segments, of every kind, that no process has open, and
// returns what it removed. It is certain about that, also in the presence of
// processes that were killed and of ones that are just opening a segment: see
// the package documentation. Foreign files stay.
func Reap(opts ...Options) (removed []Info, err error) {
	return infos(seg.Reap(options(opts)))
}

func infos(in []seg.Info, err error) ([]Info, error) {
	var all []Info
	for _, i := range in {
		all = append(all, Info(i))
	}
	return all, err
}
