package journal

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"unsafe"

	"github.com/tidwall/wal"
)

// wal keeps what it has written to the last file in memory, for readers, of which a log that is being written has none here. That memory
// grows with append: five bytes are allocated, faulted in and copied for each byte of the log, which takes four times as long as the write(2) of a batch does
// (82 µs in the place of 16 for 30 KB). There is no call that lets go of it but syncing and closing the file.
//
// So it is emptied behind wal's back after each write, and wal goes on at the beginning of the same memory. Nothing that a part of a log asks wal for depends on what was there: writes
// take their place in the file from the kernel and their index from a counter. That is so in wal 1.2.1. Before it is relied on, a process tries it out, with a log that it
// reads again; and should a version of wal look different inside, or not pass, its memory is left alone, and is what it was.

// A tail is what a log of wal remembers of its last file: the bytes, and where in them entries stand.
type tail struct {
	bytes   *[]byte
	entries reflect.Value // a slice
}

// tailFields says which fields of a wal.Log, and of a file in it, these are.
var tailFields = sync.OnceValue(func() (f struct {
	files, bytes, entries int
	known                 bool
}) {
	files, ok := reflect.TypeFor[wal.Log]().FieldByName("segments")
	if !ok || files.Type.Kind() != reflect.Slice || files.Type.Elem().Kind() != reflect.Pointer || files.Type.Elem().Elem().Kind() != reflect.Struct {
		return f
	}
	file := files.Type.Elem().Elem()
	bytes, ok := file.FieldByName("ebuf")
	if !ok || bytes.Type != reflect.TypeFor[[]byte]() {
		return f
	}
	entries, ok := file.FieldByName("epos")
	if !ok || entries.Type.Kind() != reflect.Slice {
		return f
	}
	f.files, f.bytes, f.entries, f.known = files.Index[0], bytes.Index[0], entries.Index[0], true
	return f
})

// tailOf returns the tail of a log that has one file and will have no other, or nil if this is not the wal that is known here.
func tailOf(w *wal.Log) *tail {
	f := tailFields()
	if !f.known {
		return nil
	}
	files := reflect.ValueOf(w).Elem().Field(f.files)
	if files.Len() != 1 || files.Index(0).IsNil() {
		return nil
	}
	file := files.Index(0).Elem()
	entries := file.Field(f.entries)
	return &tail{
		bytes:   (*[]byte)(unsafe.Pointer(file.Field(f.bytes).UnsafeAddr())),
		entries: reflect.NewAt(entries.Type(), unsafe.Pointer(entries.UnsafeAddr())).Elem(), // which may be set, other than entries itself
	}
}

// tried is what tryTail found out in this process.
var tried struct {
	sync.Mutex
	done, well bool
}

// mayEmpty reports whether a log of wal is what it has to be when its tail is emptied. It is tried out once, in a directory within dir.
func mayEmpty(dir string) bool {
	tried.Lock()
	defer tried.Unlock()
	if !tried.done {
		well, err := tryTail(filepath.Join(dir, snapshotPrefix+"trial"+unfinished))
		if err != nil {
			return false // the disk's fault, perhaps: another time
		}
		tried.done, tried.well = true, well
	}
	return tried.well
}

// tryTail writes a log in dir whose tail is emptied, reads it, and removes it.
func tryTail(dir string) (well bool, err error) {
	if err := os.RemoveAll(dir); err != nil { // somebody may have been killed while he tried
		return false, err
	}
	defer os.RemoveAll(dir)
	o := walOptions
	o.SegmentSize = math.MaxInt
	w, err := wal.Open(dir, &o)
	if err != nil {
		return false, err
	}
	t := tailOf(w)
	if t == nil {
		return false, w.Close()
	}
	entry := func(i uint64) []byte { return bytes.Repeat([]byte{byte(i)}, int(100/i)) } // ever shorter: what an old one leaves would be seen
	var batch wal.Batch
	for i := uint64(1); i <= 8 && err == nil; i += 2 {
		batch.Write(i, entry(i))
		batch.Write(i+1, entry(i+1))
		err = w.WriteBatch(&batch)
		t.empty()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return false, err
	}
	if w, err = openPart(dir); err != nil {
		return false, nil // it cannot be read: that is an answer
	}
	defer w.Close()
	last, err := w.LastIndex()
	well = err == nil && last == 8
	for i := uint64(1); i <= 8 && well; i++ {
		b, err := w.Read(i)
		well = err == nil && bytes.Equal(b, entry(i))
	}
	return well, nil
}

// empty forgets what was written. Nobody else may be using the log.
func (t *tail) empty() {
	if t == nil {
		return
	}
	if *t.bytes = (*t.bytes)[:0]; cap(*t.bytes) > keepSize {
		*t.bytes = nil
	}
	t.entries.SetLen(0)
}
