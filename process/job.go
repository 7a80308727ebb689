package process

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/internal/wire"
)

// Parent and child exchange frames of package wire on the child's control socket:
//
//	parent → child   jobHeader, then its parts: the arguments, then Inherit snapshots or adjustments; written before the child is executed
//	child → parent   result; read after the child has ended
//
// To a child that is executed before there is a job for it (ForkServer), the frame noJobYet is written instead. It answers with an empty frame
// when it is ready, and with another when it has taken its job, which comes later; if that is there when it is ready, with neither.
//
// Nothing is ever sent to a child after its job: to it, any event on the socket means that its parent has ended (dieWithParent).
//
// Neither may wait for its reader, who is not there yet or not any more. So a frame is at most inlineSize bytes, which
// any socket buffer takes, and what is larger lies in a sealed memfd whose descriptor travels with the frame.

// protocol is the version of these messages. Parent and child are one binary, so that a difference means
// that somebody else wrote them.
const protocol = 1

// noJobYet is the frame that stands in for a job: a header begins with the number of the protocol, which is not 0.
var noJobYet = []byte{0}

const (
	inlineSize = 4 << 10

	// maxHeader bounds the names in a header: it has no other place to go than the socket buffer.
	maxHeader = 32 << 10

	// maxFrame bounds what a reader takes from the socket.
	maxFrame = 1 << 20

	// maxText bounds each text of a result. A longer one loses its middle.
	maxText = 1 << 20
)

// A jobHeader is what a child has to know before it can make sense of its arguments.
type jobHeader struct {
	Func    registered.Identity
	Info    Info // of the child; its PID is not known yet
	Parent  Info
	Number  string // of the child among its ancestors: 2:1 is the first one of the second
	Detach  bool
	Default Method // the parent's default method
	Inherit uint64 // what the parent has of Inherit variables, if this is a fork (see inherited.digest)
	Parts   []part // arguments, then, if this is a fork, one for each Inherit variable, or for ForkServer the adjustments
	InMemfd bool   // the parts are in the first descriptor, not behind the header
	Limits  Limits
	Grace   time.Duration // below zero there is no end to it
	Stop    stopSignals

	Log       bool       // the next descriptor is the log socket
	LogLevel  slog.Level // the least that the parent handles
	logSocket int        // in the parent
}

// A part is one message of package handover: so many bytes, so many descriptors.
type part struct {
	Bytes, FDs int
}

func (h *jobHeader) encode() []byte {
	var e encoder
	e.number(protocol)
	encodeIdentity(&h.Func, &e)
	h.Info.encode(&e)
	h.Parent.encode(&e)
	e.text(h.Number)
	e.flag(h.Detach)
	e.number(int(h.Default))
	e.unsigned(h.Inherit)
	e.flag(h.InMemfd)
	h.Limits.encode(&e)
	e.number(int(h.Grace))
	e.unsigned(uint64(h.Stop))
	e.flag(h.Log)
	e.number(int(h.LogLevel))
	e.number(len(h.Parts))
	for _, p := range h.Parts {
		e.number(p.Bytes)
		e.number(p.FDs)
	}
	return e
}

// decode returns what stands behind the header.
func (h *jobHeader) decode(frame []byte) (rest []byte, err error) {
	d := decoder{rest: frame}
	if version := d.number(); version != protocol && d.err == nil {
		return nil, fmt.Errorf("the parent speaks version %d of the protocol, this program %d", version, protocol)
	}
	decodeIdentity(&h.Func, &d)
	h.Info.decode(&d)
	h.Parent.decode(&d)
	h.Number = d.text()
	h.Detach = d.flag()
	h.Default = Method(d.number())
	h.Inherit = d.unsigned()
	h.InMemfd = d.flag()
	h.Limits.decode(&d)
	h.Grace = time.Duration(d.number())
	h.Stop = stopSignals(d.unsigned())
	h.Log = d.flag()
	h.LogLevel = slog.Level(d.number())
	for n := d.number(); n > 0 && d.err == nil; n-- { // the count is not believed: each part takes its bytes
		h.Parts = append(h.Parts, part{d.number(), d.number()})
	}
	return d.rest, d.err
}

func encodeIdentity(id *registered.Identity, e *encoder) {
	e.text(id.Name)
	e.flag(id.Explicit)
	e.text(id.In)
	e.number(id.K)
	e.number(id.N)
}

func decodeIdentity(id *registered.Identity, d *decoder) {
	id.Name = d.text()
	id.Explicit = d.flag()
	id.In = d.text()
	id.K = d.number()
	id.N = d.number()
}

func (i *Info) encode(e *encoder) {
	e.text(i.Name)
	e.number(i.PID)
	e.number(i.ParentPID)
	e.number(int(i.Method))
	e.flag(i.Daemon)
}

func (i *Info) decode(d *decoder) {
	i.Name = d.text()
	i.PID = d.number()
	i.ParentPID = d.number()
	i.Method = Method(d.number())
	i.Daemon = d.flag()
}

// A job is what has arrived.
type job struct {
	header jobHeader
	data   [][]byte
	fds    [][]int
	log    int    // the log socket, if the header says that there is one
	free   func() // gives back the memory of data
}

// sendJob writes a job. The messages stay the caller's.
func sendJob(conn *wire.Conn, header jobHeader, parts []*handover.Message) error {
	size := 0
	var fds []int
	if header.Log {
		fds = append(fds, header.logSocket)
	}
	for _, m := range parts {
		header.Parts = append(header.Parts, part{len(m.Data), len(m.FDs)})
		size += len(m.Data)
		fds = append(fds, m.FDs...)
	}
	header.InMemfd = size > inlineSize/2
	frame := header.encode()
	if len(frame) > maxHeader {
		return fmt.Errorf("the description of the child has %d bytes, at most %d can be sent: its name, of %d bytes, is too long", len(frame), maxHeader, len(header.Info.Name))
	}
	if !header.InMemfd {
		for _, m := range parts {
			frame = append(frame, m.Data...)
		}
		return conn.WriteFrame(frame, fds)
	}
	chunks := make([][]byte, len(parts))
	for i, m := range parts {
		chunks[i] = m.Data
	}
	memfd, err := writeMemory(chunks)
	if err != nil {
		return fmt.Errorf("memory for %d bytes of arguments: %w", size, err)
	}
	defer unix.Close(memfd)
	return conn.WriteFrame(frame, append([]int{memfd}, fds...))
}

// receiveJob reads a job, and waits for it if there is none yet. Its descriptors are the job's, until they are taken out of it.
func receiveJob(conn *wire.Conn) (*job, error) {
	frame, fds, err := conn.ReadFrame(maxFrame)
	told := false // the parent, that this process is ready
	if err == nil && bytes.Equal(frame, noJobYet) {
		frame, fds, told, err = awaitJob(conn)
	}
	if err != nil {
		return nil, fmt.Errorf("its job did not arrive: %w", err)
	}
	j, err := parseJob(frame, fds)
	if err != nil {
		closeAll(fds)
		return nil, fmt.Errorf("its job did not arrive: %w", err)
	}
	if j.header.Info.Method == ForkServer {
		if err := j.adjust(); err != nil {
			return nil, err
		}
	}
	if told {
		err = sayTaken(conn)
	}
	return j, err
}

// parseJob takes a frame apart. On error the descriptors are still the caller's.
func parseJob(frame []byte, fds []int) (*job, error) {
	j := &job{free: func() {}}
	h := &j.header
	rest, err := h.decode(frame)
	if err != nil {
		return nil, err
	}
	if len(h.Parts) == 0 {
		return nil, errors.New("the arguments are missing")
	}
	var memfds []int
	if h.InMemfd {
		if len(fds) == 0 {
			return nil, errors.New("the descriptor of the arguments is missing")
		}
		memfds, fds = fds[:1], fds[1:]
	}
	if h.Log {
		if len(fds) == 0 {
			return nil, errors.New("the descriptor of the log socket is missing")
		}
		j.log, fds = fds[0], fds[1:]
	}
	// Check before anything is mapped.
	var size, count int
	for _, p := range h.Parts {
		if p.Bytes < 0 || p.FDs < 0 || p.FDs > len(fds)-count || size+p.Bytes < size {
			return nil, fmt.Errorf("a part of %d bytes and %d descriptors, which are not there", p.Bytes, p.FDs)
		}
		size += p.Bytes
		count += p.FDs
	}
	if count != len(fds) {
		return nil, fmt.Errorf("%d descriptors for %d places", len(fds), count)
	}
	if h.InMemfd {
		if len(rest) != 0 {
			return nil, fmt.Errorf("%d bytes behind the header, and a memory file", len(rest))
		}
		if rest, j.free, err = mapMemory(memfds[0], size); err != nil {
			return nil, err
		}
	}
	if size != len(rest) {
		j.free()
		return nil, fmt.Errorf("parts of %d bytes in %d bytes", size, len(rest))
	}
	for _, p := range h.Parts {
		j.data = append(j.data, rest[:p.Bytes:p.Bytes])
		j.fds = append(j.fds, fds[:p.FDs:p.FDs])
		rest, fds = rest[p.Bytes:], fds[p.FDs:]
	}
	closeAll(memfds)
	return j, nil
}

// takeFDs gives the descriptors of a part away.
func (j *job) takeFDs(i int) []int {
	fds := j.fds[i]
	j.fds[i] = nil
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// An outcome is how a registered function ended.
type outcome int

const (
	unknown  outcome = iota // it did not: the process ended before
	returned                // nil, or an error, whose text is in result.Err
	panicked                // result.Err is what it panicked with
	exited                  // by runtime.Goexit
	refused                 // it was never called, for the reason in result.Err
	last
)

// A result is what a child has to say in the end.
type result struct {
	Outcome outcome
	Failed  bool   // there is an error, although perhaps one with an empty text
	Err     string // at most maxText bytes, as Stack
	Stack   string
	InMemfd bool // Err and Stack are in the descriptor, each with its length here
	Lengths [2]int
}

func (r *result) encode() []byte {
	var e encoder
	e.number(protocol)
	e.number(int(r.Outcome))
	e.flag(r.Failed)
	e.text(r.Err)
	e.text(r.Stack)
	e.flag(r.InMemfd)
	e.number(r.Lengths[0])
	e.number(r.Lengths[1])
	return e
}

func (r *result) decode(frame []byte) error {
	d := decoder{rest: frame}
	version := d.number()
	r.Outcome = outcome(d.number())
	r.Failed = d.flag()
	r.Err = d.text()
	r.Stack = d.text()
	r.InMemfd = d.flag()
	r.Lengths[0] = d.number()
	r.Lengths[1] = d.number()
	switch {
	case d.err != nil:
		return d.err
	case version != protocol || r.Outcome <= unknown || r.Outcome >= last || len(d.rest) > 0:
		return fmt.Errorf("outcome %d in version %d of the protocol, and %d bytes more", r.Outcome, version, len(d.rest))
	}
	return nil
}

// sendResult writes a result. It does not block.
func sendResult(conn *wire.Conn, r result) error {
	r.Err, r.Stack = shorten(r.Err), shorten(r.Stack)
	if len(r.Err)+len(r.Stack) <= inlineSize/2 {
		return conn.WriteFrame(r.encode(), nil)
	}
	memfd, err := writeMemory([][]byte{[]byte(r.Err), []byte(r.Stack)})
	if err != nil {
		return err
	}
	defer unix.Close(memfd)
	r.InMemfd, r.Lengths = true, [2]int{len(r.Err), len(r.Stack)}
	r.Err, r.Stack = "", ""
	return conn.WriteFrame(r.encode(), []int{memfd})
}

// receiveResult reads a result.
func receiveResult(conn *wire.Conn) (result, error) {
	for {
		frame, fds, err := conn.ReadFrame(maxFrame)
		if err != nil {
			return result{}, err
		}
		if len(frame) == 0 && len(fds) == 0 {
			continue // what a child says that waited for its job, if nobody has read it
		}
		defer closeAll(fds)
		return parseResult(frame, fds)
	}
}

// parseResult takes a frame apart. The descriptors stay the caller's.
func parseResult(frame []byte, fds []int) (result, error) {
	var r result
	if err := r.decode(frame); err != nil {
		return result{}, err
	}
	if !r.InMemfd {
		return r, nil
	}
	a, b := r.Lengths[0], r.Lengths[1]
	if len(fds) != 1 || a < 0 || b < 0 || a > maxText || b > maxText {
		return result{}, fmt.Errorf("texts of %d and %d bytes in %d descriptors", a, b, len(fds))
	}
	text, free, err := mapMemory(fds[0], a+b)
	if err != nil {
		return result{}, err
	}
	defer free()
	r.Err, r.Stack = string(text[:a]), string(text[a:])
	return r, nil
}

// shorten cuts the middle out of a text that is too long.
func shorten(s string) string { return shortenTo(s, maxText) }

func shortenTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	half := most/2 - 64
	return s[:half] + fmt.Sprintf("\n… %d bytes left out …\n", len(s)-2*half) + s[len(s)-half:]
}
