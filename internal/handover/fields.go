package handover

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-multiproc/multiproc/internal/codec"
)

// A field is one that crosses, of a struct or of a struct embedded in it.
type field struct {
	step  string // .Name, as a path shows it
	key   []byte // as it is on the wire
	index []int
	plan  *plan
}

// A tag is what stands in a field's tag for the codec. It falls back to json's, and so do we: both ends of a pipe need not agree on
// whether a type is walked.
type tag struct {
	name        string
	cbor        bool // from a cbor tag
	asInt, skip bool
}

func tagOf(f reflect.StructField) tag {
	s, ok := f.Tag.Lookup("cbor")
	if !ok || s == "" {
		s = f.Tag.Get("json")
		ok = false
	}
	if s == "-" {
		return tag{cbor: ok, skip: true}
	}
	name, options, _ := strings.Cut(s, ",")
	t := tag{name: name, cbor: ok}
	for o := range strings.SplitSeq(options, ",") {
		t.asInt = t.asInt || o == "keyasint"
	}
	return t
}

// structure plans the fields of p.
//
// The codec has JSON's habits: it flattens embedded structs, and where that gives two fields one name, it silently leaves out one or both; it
// leaves out what is tagged json:"-", and all of an embedded time.Time. An argument that arrives with fields missing is not what was
// passed, so such structs are walked in both directions: fields hidden from JSON are sent, and where names clash, embedded structs are
// sent as fields of their own, as package gob does.
func (b *builder) structure(p *plan) {
	if f, ok := p.t.FieldByName("_"); ok {
		if _, options, _ := strings.Cut(f.Tag.Get("cbor"), ","); strings.Contains(","+options+",", ",toarray,") {
			p.toArray = true
		}
	}
	c := collector{b: b, p: p, flatten: true}
	if !c.collect(p.t, nil, "", map[reflect.Type]bool{}) || !c.index() {
		p.enc, p.dec, p.skipsNil, p.bad, p.why = true, true, false, "", nil
		c = collector{b: b, p: p}
		c.collect(p.t, nil, "", map[reflect.Type]bool{})
		c.index()
	}
}

type collector struct {
	b       *builder
	p       *plan
	flatten bool
	fields  []field
}

func (c *collector) bad(step string, why *refusal) {
	if c.p.bad == "" {
		c.p.bad, c.p.why, c.p.enc = step, why, true
	}
}

// collect adds the fields of t, which stands at index in the struct. It reports false where a type embeds itself.
func (c *collector) collect(t reflect.Type, index []int, prefix string, above map[reflect.Type]bool) bool {
	if above[t] {
		return false
	}
	above[t] = true
	defer delete(above, t)

	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			continue // nothing can be in it
		}
		tag := tagOf(f)
		if tag.skip && tag.cbor {
			continue
		}
		if tag.skip { // json:"-" alone keeps a field out of JSON, not from its own program's other processes
			c.p.enc, c.p.dec = true, true
		}
		step := prefix + "." + f.Name
		fp := c.b.plan(f.Type)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		embedded := f.Anonymous && inner.Kind() == reflect.Struct
		ordinary := embedded && c.b.plan(inner).class == structure
		if !f.IsExported() && !(ordinary && f.Type == inner) {
			c.bad(step, refuseUnexported(t, f, c.b.plan(inner)))
			continue
		}
		if embedded && tag.name == "" && (!ordinary || !c.flatten) {
			c.p.enc, c.p.dec = true, true
		}
		here := append(index[:len(index):len(index)], i)
		if ordinary && tag.name == "" && c.flatten {
			if f.Type.Kind() == reflect.Pointer {
				c.p.skipsNil = true
			}
			if !c.collect(inner, here, step, above) {
				return false
			}
			continue
		}
		if !f.IsExported() {
			c.p.enc, c.p.dec = true, true // as a whole it can neither be read nor set, its fields can
		}

		name := tag.name
		if name == "" {
			name = f.Name
		}
		var key bytes.Buffer
		if tag.asInt {
			n, err := strconv.ParseInt(name, 10, 64)
			if err != nil {
				c.bad(step, &refusal{what: fmt.Sprintf("a field tagged keyasint and named %q", name)})
				continue
			}
			if n >= 0 {
				codec.WriteHead(&key, codec.Uint, uint64(n))
			} else {
				codec.WriteHead(&key, codec.Nint, uint64(-1-n))
			}
		} else {
			codec.WriteHead(&key, codec.Text, uint64(len(name)))
			key.WriteString(name)
		}
		c.fields = append(c.fields, field{step: step, key: key.Bytes(), index: here, plan: fp})
	}
	return true
}

// index hands the fields to the plan. It reports false where two of them have one name.
func (c *collector) index() bool {
	p := c.p
	p.fields = c.fields
	p.byName = make(map[string]int, len(p.fields))
	clash := false
	for i, f := range p.fields {
		if j, ok := p.byName[string(f.key)]; ok {
			clash = true
			c.bad(f.step, &refusal{what: "a field that has the name of another, " + p.fields[j].step[1:] + ",", hint: "change its tag"})
			continue
		}
		p.byName[string(f.key)] = i
	}
	return !clash
}

func refuseUnexported(t reflect.Type, f reflect.StructField, p *plan) *refusal {
	if p.class == refused && (p.t.PkgPath() == "sync" || p.t.PkgPath() == "sync/atomic") {
		return p.why // the name's case is the lesser problem
	}
	if f.Anonymous && f.Type.Kind() == reflect.Pointer {
		return &refusal{what: "an embedded pointer to the unexported " + f.Type.Elem().String(), hint: "embed it by value, or name the field"}
	}
	r := &refusal{
		what: "an unexported field",
		hint: fmt.Sprintf("export it, %s, or give %s the methods MarshalBinary and UnmarshalBinary", leaveOut, t),
	}
	opaque := true
	for i := range t.NumField() {
		opaque = opaque && !t.Field(i).IsExported()
	}
	if opaque {
		r.hint, r.kept = fmt.Sprintf("pass what it takes to make a %s there, or give it the methods MarshalBinary and UnmarshalBinary", t), r.hint
	}
	return r
}
