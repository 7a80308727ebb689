// Package accesslog counts the visits and the distinct clients of access logs, part by
// part, so that several processes can share one file.
//
// A visit is a line that is not blank. Its client is the line's first field, up to the
// first comma if it has one. Fields are separated by spaces and tabs, one carriage return
// at the end of a line is not part of it, and bytes are bytes: nothing has to be UTF-8.
// So the numbers are those of
//
//	awk '{sub(/\r$/,"")} NF{n++;split($1,a,",");s[a[1]]}'
//
// Who writes to a file while it is read gets the numbers of no particular moment, and no
// other harm. Memory is needed for the distinct clients and for one first field with the
// blanks before it; the rest of a line may be of any length.
package accesslog

import (
	"bytes"
	"fmt"
	"io"
)

// A Part is a stretch of a file. To it belong the lines that begin in it, also when they
// end beyond it.
type Part struct {
	Offset int64 // where it begins, in bytes
	Length int64 // in bytes; negative means up to the end of the file
}

// Split cuts a file of size bytes into parts of about want bytes. The last one reaches to
// the end of the file, wherever that is by then.
func Split(size, want int64) []Part {
	want = max(want, 1)
	var parts []Part
	offset := int64(0)
	// A rest of less than half a part is done with the part before it.
	for ; size-offset >= want+(want+1)/2; offset += want {
		parts = append(parts, Part{offset, want})
	}
	return append(parts, Part{offset, -1})
}

// Stats is what was counted. The zero Stats is empty and ready.
type Stats struct {
	Visits  int64   // lines that are not blank
	Clients Clients // who they came from
}

// bufferSize is read at a time. It stays in the processor's second-level cache from the
// read that fills it to the scan that follows. A mapping of the file would save the copy;
// its page faults cost about as much, and a file truncated meanwhile would end the process.
const bufferSize = 256 << 10

// Count adds the lines of one part of r to s. It calls progress, which may be nil, with
// the number of bytes that it has got further by. After an error s has counted some lines.
func (s *Stats) Count(r io.ReaderAt, p Part, progress func(n int64)) error {
	at := p.Offset    // what to read next
	skipping := false // to the end of the line: it is counted, or it is not ours
	if p.Offset > 0 { // the byte before tells whether a line begins here
		at, skipping = p.Offset-1, true
	}
	const forever = 1<<63 - 1
	end := int64(forever)
	if p.Length >= 0 {
		end = p.Offset + p.Length
	}
	buf := make([]byte, bufferSize+wordPadding)
	used := 0 // bytes of buf that hold the beginning of a line
	for {
		if used == len(buf)-wordPadding { // a first field as long as the buffer
			buf = append(buf, make([]byte, len(buf)-wordPadding)...)
		}
		n, err := r.ReadAt(buf[used:len(buf)-wordPadding], at)
		begin := at - int64(used) // of buf in the file
		if progress != nil {
			if further := min(at+int64(n), end) - max(at, p.Offset); further > 0 {
				progress(further)
			}
		}
		at += int64(n)
		used += n

		pos := 0
		for pos < used {
			if begin+int64(pos) >= end {
				return nil // the next line to begin is not ours
			}
			if skipping {
				newline := bytes.IndexByte(buf[pos:used], '\n')
				if newline < 0 {
					pos = used
					break
				}
				pos += newline + 1
				skipping = false
				continue
			}
			pos = s.lines(buf, pos, used, int(min(end-begin, int64(used))))
			if pos == used || begin+int64(pos) >= end {
				continue
			}
			// A line that begins in this part and does not end in the buffer.
			if client, ok := beginning(buf[pos:used]); ok {
				s.Visits++
				s.Clients.Add(client)
				pos, skipping = used, true
			}
			break
		}
		used = copy(buf, buf[pos:used])

		switch {
		case err == io.EOF:
			if used > 0 { // the last line has no newline
				s.line(buf[:used])
			}
			return nil
		case err != nil:
			return fmt.Errorf("at byte %d: %w", at, err)
		}
	}
}

// lines counts the complete lines of buf[:used] that begin at pos or later, and before
// limit. It returns where the first line begins that it did not count. At least
// wordPadding bytes of buf follow used.
func (s *Stats) lines(buf []byte, pos, used, limit int) int {
	for pos < limit {
		// Nearly every line begins with a short client and a blank or comma.
		if key, n, ok := wordKey(buf, pos); ok && pos+n < used {
			newline := bytes.IndexByte(buf[pos+n:used], '\n')
			if newline < 0 {
				return pos
			}
			s.Visits++
			s.Clients.addKey(key)
			pos += n + newline + 1
			continue
		}
		newline := bytes.IndexByte(buf[pos:used], '\n')
		if newline < 0 {
			return pos
		}
		s.line(buf[pos : pos+newline])
		pos += newline + 1
	}
	return pos
}

// line counts one line, given without its newline.
func (s *Stats) line(line []byte) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	line = bytes.TrimLeft(line, " \t")
	if len(line) == 0 {
		return
	}
	if i := bytes.IndexAny(line, " \t,"); i >= 0 {
		line = line[:i]
	}
	s.Visits++
	s.Clients.Add(line)
}

// beginning returns the client of a line of which the end is not known yet, if that can
// make no difference any more.
func beginning(line []byte) (client []byte, ok bool) {
	line = bytes.TrimLeft(line, " \t")
	i := bytes.IndexAny(line, " \t,")
	if i < 0 {
		return nil, false
	}
	return line[:i], true
}

// Stream makes a ReaderAt of a Reader that cannot seek, for one Count of one Part from 0
// to the end.
func Stream(r io.Reader) io.ReaderAt { return stream{r} }

type stream struct{ r io.Reader }

func (s stream) ReadAt(p []byte, _ int64) (int, error) {
	n, err := io.ReadFull(s.r, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}
