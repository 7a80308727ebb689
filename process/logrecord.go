package process

import (
	"encoding"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math"
	"reflect"
	"runtime"
	"strings"
	"time"
)

const (
	// maxLogRecord bounds a record on the wire, maxLogMessage what is kept of the message of one that is larger.
	maxLogRecord  = maxFrame - 64
	maxLogMessage = 64 << 10

	// maxLogDepth bounds how deep groups may stand in each other. What is deeper arrives as text.
	maxLogDepth = 32
)

// Links of a chain: what a logger's With and WithGroup added, in their order.
const (
	linkAttrs = 'a'
	linkGroup = 'g'
)

// Kinds of values, as they are sent. They are slog's, and what stands for values of any type.
const (
	valueNil = iota
	valueBool
	valueDuration
	valueFloat64
	valueInt64
	valueString
	valueTime
	valueUint64
	valueGroup
	valueBytes
	valueSource
	valueError
	valueOther
)

// logRecord appends a record.
func (e *encoder) logRecord(o logOrigin, r slog.Record, links int, chain []byte) {
	e.text(o.name)
	e.number(o.pid)
	e.time(r.Time)
	e.number(int(r.Level))
	e.pc(r.PC)
	e.text(r.Message)
	e.number(links)
	*e = append(*e, chain...)
	e.number(r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		e.logAttr(a, 0)
		return true
	})
}

// time appends a time with its offset from UTC, but without the name of its zone, which no handler shows.
func (e *encoder) time(t time.Time) {
	b, err := t.MarshalBinary()
	if err != nil { // an offset of fractions of a minute, of long ago
		b, _ = t.UTC().MarshalBinary()
	}
	if t.IsZero() {
		b = nil // "without a time" is what a zero one means
	}
	e.text(string(b))
}

func (d *decoder) time() (t time.Time) {
	if b := d.text(); b != "" && t.UnmarshalBinary([]byte(b)) != nil {
		d.fail()
	}
	return t
}

// base is where the program's code lies in this process. Parent and child are one program, but each may have been loaded elsewhere.
var base = reflect.ValueOf(LogHandler).Pointer()

// pc appends a place in the code. The name of its function goes along, as a hash: code in a plugin is somewhere else in each process.
func (e *encoder) pc(pc uintptr) {
	f := runtime.FuncForPC(pc)
	e.flag(f != nil)
	if f != nil {
		e.number(int(pc) - int(base))
		e.unsigned(uint64(hashOf(f.Name())))
	}
}

func (d *decoder) pc() uintptr {
	if !d.flag() {
		return 0
	}
	pc := uintptr(d.number() + int(base))
	hash := d.unsigned()
	if f := runtime.FuncForPC(pc); f != nil && uint64(hashOf(f.Name())) == hash {
		return pc
	}
	return 0
}

func hashOf(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

func (e *encoder) logAttrs(attrs []slog.Attr, depth int) {
	e.number(len(attrs))
	for _, a := range attrs {
		e.logAttr(a, depth)
	}
}

func (e *encoder) logAttr(a slog.Attr, depth int) {
	e.text(a.Key)
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindBool:
		e.kind(valueBool)
		e.flag(v.Bool())
	case slog.KindDuration:
		e.kind(valueDuration)
		e.number(int(v.Duration()))
	case slog.KindFloat64:
		e.kind(valueFloat64)
		e.unsigned(math.Float64bits(v.Float64()))
	case slog.KindInt64:
		e.kind(valueInt64)
		e.number(int(v.Int64()))
	case slog.KindString:
		e.kind(valueString)
		e.text(v.String())
	case slog.KindTime:
		e.kind(valueTime)
		e.time(v.Time())
	case slog.KindUint64:
		e.kind(valueUint64)
		e.unsigned(v.Uint64())
	case slog.KindGroup:
		if depth >= maxLogDepth {
			e.kind(valueString)
			e.text(fmt.Sprint(v))
			return
		}
		e.kind(valueGroup)
		e.logAttrs(v.Group(), depth+1)
	default:
		e.logAny(v.Any())
	}
}

func (e *encoder) kind(k byte) { *e = append(*e, k) }

// logAny appends what slog's handlers make of a value of any type.
func (e *encoder) logAny(v any) {
	switch v := v.(type) {
	case nil:
		e.kind(valueNil)
		return
	case []byte:
		e.kind(valueBytes)
		e.text(string(v))
		return
	case *slog.Source:
		if v != nil {
			e.kind(valueSource)
			e.text(v.Function)
			e.text(v.File)
			e.number(v.Line)
			return
		}
	case error:
		e.kind(valueError)
		e.text(guarded(v, v.Error))
		e.logForms(v)
		return
	}
	e.kind(valueOther)
	e.logForms(v)
}

// logForms appends a value as text and as JSON. What is wrong with it is said in its place, as slog's handlers do.
func (e *encoder) logForms(v any) {
	e.text(guarded(v, func() string {
		if m, ok := v.(encoding.TextMarshaler); ok {
			b, err := m.MarshalText()
			if err != nil {
				return "!ERROR:" + err.Error()
			}
			return string(b)
		}
		return fmt.Sprintf("%+v", v)
	}))
	if _, isError := v.(error); isError {
		if _, own := v.(json.Marshaler); !own {
			e.text("") // its text is shown
			return
		}
	}
	var j string
	trouble := guarded(v, func() string {
		var err error
		if j, err = toJSON(v); err != nil {
			return "!ERROR:" + err.Error()
		}
		return ""
	})
	if trouble != "" {
		j, _ = toJSON(trouble)
	}
	e.text(j)
}

func toJSON(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// guarded calls a method of a value that is foreign to us, and makes a text of its panic, as slog's handlers do.
func guarded(v any, f func() string) (s string) {
	defer func() {
		if r := recover(); r != nil {
			if x := reflect.ValueOf(v); x.Kind() == reflect.Pointer && x.IsNil() {
				s = "<nil>"
			} else {
				s = fmt.Sprintf("!PANIC: %v", r)
			}
		}
	}()
	return f()
}

// A foreignValue stands for a value of a type that only the child knew how to print.
type foreignValue struct {
	text, json string
}

func (v foreignValue) String() string               { return v.text }
func (v foreignValue) MarshalText() ([]byte, error) { return []byte(v.text), nil }
func (v foreignValue) MarshalJSON() ([]byte, error) { return []byte(v.json), nil }

// A foreignError stands for an error.
type foreignError struct {
	message, verbose string
}

func (e *foreignError) Error() string { return e.message }

// Format says more with %+v, if the error did.
func (e *foreignError) Format(s fmt.State, verb rune) {
	switch {
	case verb == 'v' && s.Flag('+'):
		fmt.Fprint(s, e.verbose)
	case verb == 'q':
		fmt.Fprintf(s, "%q", e.message)
	default:
		fmt.Fprint(s, e.message)
	}
}

// A foreignJSONError is one that had a JSON form of its own.
type foreignJSONError struct {
	foreignError
	value foreignValue
}

func (e *foreignJSONError) MarshalJSON() ([]byte, error) { return e.value.MarshalJSON() }

// A logRecord is what has arrived.
type logRecord struct {
	origin logOrigin
	record slog.Record
	links  int
	chain  string // as it was sent
}

// parseLogRecord takes a frame apart.
func parseLogRecord(frame []byte) (r logRecord, err error) {
	d := decoder{rest: frame}
	r.origin.name = d.text()
	r.origin.pid = d.number()
	t := d.time()
	level := slog.Level(d.number())
	pc := d.pc()
	r.record = slog.NewRecord(t, level, d.text(), pc)
	r.links = d.number()
	before := d.rest
	d.skipChain(r.links)
	if d.err == nil {
		r.chain = string(before[:len(before)-len(d.rest)])
	}
	for n := d.number(); n > 0 && d.err == nil; n-- { // the count is not believed: each attribute takes its bytes
		r.record.AddAttrs(d.logAttr(0))
	}
	if d.err == nil && len(d.rest) > 0 {
		d.fail()
	}
	return r, d.err
}

// skipChain checks a chain.
func (d *decoder) skipChain(links int) {
	for ; links > 0 && d.err == nil; links-- {
		d.link()
	}
}

// logChain makes of a handler what With and WithGroup have made of the child's.
func (d *decoder) logChain(h slog.Handler, links int) slog.Handler {
	for ; links > 0 && d.err == nil; links-- {
		group, attrs := d.link()
		switch {
		case d.err != nil:
		case group != "":
			h = h.WithGroup(group)
		default:
			h = h.WithAttrs(attrs)
		}
	}
	return h
}

func (d *decoder) link() (group string, attrs []slog.Attr) {
	switch d.kind() {
	case linkGroup:
		if group = d.text(); group == "" {
			d.fail()
		}
	case linkAttrs:
		attrs = d.logAttrs(0)
	default:
		d.fail()
	}
	return group, attrs
}

func (d *decoder) kind() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	k := d.rest[0]
	d.rest = d.rest[1:]
	return k
}

func (d *decoder) logAttrs(depth int) (attrs []slog.Attr) {
	for n := d.number(); n > 0 && d.err == nil; n-- {
		attrs = append(attrs, d.logAttr(depth))
	}
	return attrs
}

func (d *decoder) logAttr(depth int) slog.Attr {
	key := d.text()
	var v slog.Value
	switch d.kind() {
	case valueNil:
	case valueBool:
		v = slog.BoolValue(d.flag())
	case valueDuration:
		v = slog.DurationValue(time.Duration(d.number()))
	case valueFloat64:
		v = slog.Float64Value(math.Float64frombits(d.unsigned()))
	case valueInt64:
		v = slog.Int64Value(int64(d.number()))
	case valueString:
		v = slog.StringValue(d.text())
	case valueTime:
		v = slog.TimeValue(d.time())
	case valueUint64:
		v = slog.Uint64Value(d.unsigned())
	case valueGroup:
		if depth >= maxLogDepth {
			d.fail()
			break
		}
		v = slog.GroupValue(d.logAttrs(depth + 1)...)
	case valueBytes:
		v = slog.AnyValue([]byte(d.text()))
	case valueSource:
		v = slog.AnyValue(&slog.Source{Function: d.text(), File: d.text(), Line: d.number()})
	case valueError:
		e := foreignError{message: d.text()}
		f := d.foreign()
		e.verbose = f.text
		v = slog.AnyValue(&e)
		if f.json != "" {
			v = slog.AnyValue(&foreignJSONError{e, f})
		}
	case valueOther:
		v = slog.AnyValue(d.foreign())
	default:
		d.fail()
	}
	return slog.Attr{Key: key, Value: v}
}

func (d *decoder) foreign() foreignValue {
	return foreignValue{text: d.text(), json: d.text()}
}
