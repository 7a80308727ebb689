package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/tidwall/wal"
)

// A part is one directory: a log of package wal, whose first entry is a head and whose others are pieces.
//
// What wal does: it writes an entry with one write(2), cuts the log into files, and finds the entries again. What it does
// not do is done here: it has no checksums; it refuses to open a log whose last entry is torn; after a
// write that failed its idea of the file is wrong (so a part is not used again after an error); it does not sync directories.
type part struct {
	dir    string
	number uint64 // of a part of the log
	wal    *wal.Log
	index  uint64 // of the last entry
	size   int64  // bytes written
	batch  wal.Batch
	piece  []byte
	tail   *tail
	closed bool
	last   string // the last file that is known to be in the synced directory
}

const (
	// segmentSize is the size of a file of a snapshot. wal keeps the last file in memory, and syncs each that it completes.
	segmentSize = 4 << 20

	// partSize is the size at which a part of the log is followed by another. It has one file: wal would have writers wait while
	// it syncs one that it completes.
	partSize = 4 << 20

	// pieceSize is the largest piece. Longer writes are several.
	pieceSize = 1 << 20

	// pieceHead is what stands before a piece's bytes: a checksum of all that follows (4 bytes), at which byte of the stream it
	// begins (8), and how far the stream was known to be synced (8). All big-endian.
	pieceHead = 20

	formatName    = "multiproc-journal"
	formatVersion = 1
)

// castagnoli is made when it is needed: every process of a program that imports this has to initialise its packages, and the table takes
// a fifth of a millisecond.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }

var walOptions = wal.Options{
	NoSync:           true,
	SegmentSize:      segmentSize,
	SegmentCacheSize: 1,
	NoCopy:           true,
	AllowEmpty:       true,
	DirPerms:         0o700,
	FilePerms:        0o600,
}

// createPart makes a part whose stream begins at start.
func createPart(dir string, start uint64, segment int) (*part, error) {
	o := walOptions
	o.SegmentSize = segment
	w, err := wal.Open(dir, &o)
	if err != nil {
		return nil, err
	}
	p := &part{dir: dir, wal: w}
	head := binary.BigEndian.AppendUint32([]byte(formatName), formatVersion)
	head = binary.BigEndian.AppendUint64(head, start)
	head = binary.BigEndian.AppendUint32(head, checksum(head))
	if err := p.wal.Write(1, head); err != nil {
		p.close()
		return nil, err
	}
	p.index = 1
	if segment == math.MaxInt && mayEmpty(filepath.Dir(dir)) {
		p.tail = tailOf(w)
	}
	return p, nil
}

// openPart opens a part to read it.
func openPart(dir string) (*wal.Log, error) { return wal.Open(dir, &walOptions) }

// readHead returns where a part's stream begins. What is no whole head is errHead; the head of another version is another error.
func readHead(b []byte) (start uint64, err error) {
	const n = len(formatName)
	if len(b) < n+4 || string(b[:n]) != formatName {
		return 0, errHead
	}
	if v := binary.BigEndian.Uint32(b[n:]); v != formatVersion {
		return 0, fmt.Errorf("%w: format %d, and this program reads format %d", ErrVersion, v, formatVersion)
	}
	if len(b) != n+4+8+4 || checksum(b[:n+12]) != binary.BigEndian.Uint32(b[n+12:]) {
		return 0, errHead
	}
	return binary.BigEndian.Uint64(b[n+4:]), nil
}

var errHead = errors.New("no head")

// append writes b, which stands at that place of the stream, in one write unless a file fills up.
func (p *part) append(at uint64, b []byte, synced uint64) error {
	defer func(long bool) {
		if long {
			p.batch, p.piece = wal.Batch{}, nil
		}
	}(len(b) > keepSize)
	p.batch.Clear()
	for len(b) > 0 {
		n := min(len(b), pieceSize)
		p.piece = binary.BigEndian.AppendUint64(append(p.piece[:0], 0, 0, 0, 0), at)
		p.piece = binary.BigEndian.AppendUint64(p.piece, synced)
		p.piece = append(p.piece, b[:n]...)
		binary.BigEndian.PutUint32(p.piece, checksum(p.piece[4:]))
		p.index++
		p.batch.Write(p.index, p.piece)
		p.size += int64(len(p.piece))
		at += uint64(n)
		b = b[n:]
	}
	err := p.wal.WriteBatch(&p.batch)
	if p.size > segmentSize/2 {
		p.wal.ClearCache() // of files that are never read again
	}
	p.tail.empty()
	return err
}

// readPiece takes an entry apart; ok is false if it is not whole.
func readPiece(b []byte) (at, synced uint64, data []byte, ok bool) {
	if len(b) <= pieceHead || checksum(b[4:]) != binary.BigEndian.Uint32(b) {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:]), b[pieceHead:], true
}

// sync syncs what has been written. It may run beside append: wal's own Sync would keep writers waiting meanwhile.
func (p *part) sync() error {
	// wal has synced all files but the last; but which that is may change at any moment, and then it was synced.
	names, err := segments(p.dir)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("%s: its files are gone", p.dir)
	}
	last := names[len(names)-1]
	if err := syncFile(filepath.Join(p.dir, last)); err != nil || last == p.last {
		return err
	}
	if err := errors.Join(syncFile(p.dir), syncFile(filepath.Dir(p.dir))); err != nil {
		return err
	}
	p.last = last
	return nil
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// close closes the files. It is safe to call twice.
func (p *part) close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	return p.wal.Close()
}

// segments returns the names of a part's files, in order.
func segments(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries { // sorted by name
		if name := e.Name(); len(name) == 20 && !e.IsDir() {
			names = append(names, name)
		}
	}
	return names, nil
}

// An ending is what is known of a part's end before it is opened.
type ending struct {
	file   string // the last one; "" if there is none
	size   int    // its bytes
	whole  int    // how many of them are whole entries
	start  uint64 // where the part begins in the stream; 0 if there is no head
	end    uint64 // where it ends, as far as it is whole
	synced uint64 // how far the stream was synced, according to any piece in the last file
}

func (e *ending) torn() bool { return e.whole < e.size }

// cut removes what is not whole, which wal would not open otherwise.
func (e *ending) cut() error {
	if !e.torn() {
		return nil
	}
	return os.Truncate(e.file, int64(e.whole))
}

// inspect finds out where a part ends. It changes nothing.
func inspect(dir string) (e ending, err error) {
	names, err := segments(dir)
	if err != nil || len(names) == 0 {
		return e, err
	}
	// The last file may be empty, or have nothing in it that is whole; then the one before says where the stream was.
	for i := len(names) - 1; i >= 0; i-- {
		name := filepath.Join(dir, names[i])
		b, err := os.ReadFile(name)
		if err != nil {
			return e, err
		}
		whole, start, end, synced := wholeEntries(b, i == 0)
		if i == len(names)-1 {
			e = ending{file: name, size: len(b), whole: whole, synced: max(synced, syncedBehind(b, whole))}
		}
		if i == 0 {
			e.start = start
			end = max(end, start)
		}
		if e.end = end; end > 0 {
			break
		}
	}
	return e, nil
}

// wholeEntries reads the entries of a file as far as they are whole.
func wholeEntries(b []byte, first bool) (whole int, start, end, synced uint64) {
	for whole < len(b) {
		data, n := entry(b[whole:])
		if n == 0 {
			break
		}
		if first {
			var err error
			if start, err = readHead(data); errors.Is(err, errHead) {
				break
			}
			first = false
		} else {
			at, s, piece, ok := readPiece(data)
			if !ok {
				break
			}
			end, synced = at+uint64(len(piece)), max(synced, s)
		}
		whole += n
	}
	return whole, start, end, synced
}

// syncedBehind looks for whole pieces where the entries are not, and returns what they say about how far the stream was synced. There may be some
// when the file was damaged, and when a power cut kept some of it.
func syncedBehind(b []byte, whole int) (synced uint64) {
	for whole++; whole < len(b); whole++ {
		data, n := entry(b[whole:])
		if n == 0 || len(data) <= pieceHead || len(data) > pieceHead+pieceSize {
			continue
		}
		// A checksum of up to a megabyte at each byte would take for ever. What cannot be a piece is seen from its head.
		if at, s := binary.BigEndian.Uint64(data[4:]), binary.BigEndian.Uint64(data[12:]); s > at || at>>56 != 0 {
			continue
		}
		if _, s, _, ok := readPiece(data); ok {
			synced = max(synced, s)
			whole += n - 1
		}
	}
	return synced
}

// entry returns the entry at the beginning of b, in wal's binary format: its length, as a varint, and its bytes. n is 0 if it is
// not all there.
func entry(b []byte) (data []byte, n int) {
	size, head := binary.Uvarint(b)
	if head <= 0 || size > uint64(len(b)-head) {
		return nil, 0
	}
	n = head + int(size)
	return b[head:n], n
}
