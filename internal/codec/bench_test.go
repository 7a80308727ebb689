package codec_test

import (
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/go-multiproc/multiproc/internal/codec"
)

type record struct {
	ID    int
	Name  string
	Tags  []string
	Score float64
}

func records(n int) []record {
	rs := make([]record, n)
	for i := range rs {
		rs[i] = record{i, fmt.Sprintf("record %d", i), []string{"a", "bc"}, float64(i) / 3}
	}
	return rs
}

func BenchmarkMarshal(b *testing.B) {
	rs := records(1000)
	bytes, _ := codec.Marshal(rs)
	b.Run("codec", func(b *testing.B) {
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			codec.Marshal(rs)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			codec.LibraryMarshal(rs)
		}
	})
	b.Run("json", func(b *testing.B) {
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			json.Marshal(rs)
		}
	})
	b.Run("gob", func(b *testing.B) {
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			gob.NewEncoder(io.Discard).Encode(rs)
		}
	})
}

func BenchmarkUnmarshal(b *testing.B) {
	rs := records(1000)
	bytes, _ := codec.Marshal(rs)
	js, _ := json.Marshal(rs)
	b.Run("codec", func(b *testing.B) {
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			var out []record
			codec.Unmarshal(bytes, &out)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			var out []record
			codec.LibraryUnmarshal(bytes, &out)
		}
	})
	b.Run("json", func(b *testing.B) {
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			var out []record
			json.Unmarshal(js, &out)
		}
	})
	b.Run("skip", func(b *testing.B) { // the pass that this package adds before the library's
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			codec.Skip(bytes)
		}
	})
}
