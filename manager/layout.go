package manager

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/go-multiproc/multiproc/internal/store"
)

// layouts are what describe said, by type.
var layouts sync.Map

// describe says what values of type t look like, in words that are the same in every program in which such values are: named structs
// are spelled out, and the names of other types are replaced by what they are. Named objects carry it, so
// that nobody takes one for what it is not.
func describe(t reflect.Type) string {
	if s, ok := layouts.Load(t); ok {
		return s.(string)
	}
	var b strings.Builder
	writeLayout(&b, t, map[reflect.Type]bool{})
	s := b.String()
	layouts.Store(t, s)
	return s
}

func writeLayout(b *strings.Builder, t reflect.Type, open map[reflect.Type]bool) {
	if t.Kind() == reflect.Pointer {
		zero := reflect.Zero(t).Interface()
		if p, ok := zero.(interface {
			elements() (store.Kind, []reflect.Type)
		}); ok { // a Dict, a List, …; its elements may hold others of its own type
			kind, of := p.elements()
			b.WriteString(kind.String() + "[")
			writeLayout(b, of[0], open)
			b.WriteByte(']')
			for _, t := range of[1:] {
				writeLayout(b, t, open)
			}
			return
		}
		if p, ok := zero.(interface{ layout() string }); ok { // a Mutex, …
			b.WriteString(p.layout())
			return
		}
		b.WriteByte('*')
		writeLayout(b, t.Elem(), open)
		return
	}
	if t.Kind() != reflect.Interface &&
		(reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.BinaryMarshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextMarshaler]())) {
		b.WriteString(t.String()) // how it travels is its own affair
		return
	}
	switch t.Kind() {
	case reflect.Slice:
		b.WriteString("[]")
		writeLayout(b, t.Elem(), open)
	case reflect.Array:
		fmt.Fprintf(b, "[%d]", t.Len())
		writeLayout(b, t.Elem(), open)
	case reflect.Map:
		b.WriteString("map[")
		writeLayout(b, t.Key(), open)
		b.WriteByte(']')
		writeLayout(b, t.Elem(), open)
	case reflect.Struct:
		if open[t] { // a type that is part of itself
			b.WriteString(t.Name())
			return
		}
		open[t] = true
		defer delete(open, t)
		b.WriteString("struct{")
		first := true
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("cbor"), ",")
			if name == "-" || !f.IsExported() && !f.Anonymous {
				continue
			}
			if name == "" {
				name = f.Name
			}
			if !first {
				b.WriteString("; ")
			}
			first = false
			b.WriteString(name + " ")
			writeLayout(b, f.Type, open)
		}
		b.WriteByte('}')
	case reflect.Interface:
		b.WriteString("any")
	case reflect.Int, reflect.Uint: // 64 bits, wherever this module runs
		b.WriteString(t.Kind().String() + "64")
	default:
		b.WriteString(t.Kind().String())
	}
}
