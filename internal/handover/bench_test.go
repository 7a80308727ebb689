package handover_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/internal/codec"
	"github.com/go-multiproc/multiproc/internal/handover"
)

type record struct {
	ID    int
	Name  string
	Tags  []string
	Score float64
}

type lines struct {
	Lines []string
}

// withHandle is lines as it usually crosses: beside a handle.
type withHandle struct {
	Count *cell[int]
	Lines []string
	Blob  []byte
	More  *withHandle
}

func tenMB() []string {
	l := make([]string, 100_000)
	for i := range l {
		l[i] = strings.Repeat("x", 100)
	}
	return l
}

func records(n int) []record {
	rs := make([]record, n)
	for i := range rs {
		rs[i] = record{i, fmt.Sprintf("record %d", i), []string{"a", "bc"}, float64(i) / 3}
	}
	return rs
}

// Each case stands beside the codec alone with the same data.
func BenchmarkMarshal(b *testing.B) {
	text := tenMB()
	recs := records(1000)
	type walked struct {
		ID    int
		Name  string
		Tags  []string
		Score float64
		Any   any
	}
	type dated struct {
		ID    int
		Name  string
		Tags  []string
		Score float64
		At    time.Time
	}
	walk := make([]walked, len(recs))
	date := make([]dated, len(recs))
	for i, r := range recs {
		walk[i] = walked{r.ID, r.Name, r.Tags, r.Score, i}
		date[i] = dated{r.ID, r.Name, r.Tags, r.Score, time.Unix(int64(i), 5)}
	}
	for _, c := range []struct {
		name string
		v    any
	}{
		{"10MB", lines{text}},
		{"10MB and a handle", withHandle{Count: &cell[int]{1}, Lines: text}},
		{"records", recs},
		{"records with any", walk},
		{"records with time", date},
		{"small", record{1, "name", []string{"a"}, 1.5}},
		{"small with handle", withHandle{Count: &cell[int]{1}, Lines: []string{"a"}}},
		{"string", "hello"},
	} {
		b.Run(c.name+"/handover", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m, err := handover.Marshal(c.v, "v")
				if err != nil {
					b.Fatal(err)
				}
				m.Sent()
			}
		})
		b.Run(c.name+"/codec", func(b *testing.B) {
			b.ReportAllocs()
			v := c.v
			if h, ok := v.(withHandle); ok {
				v = lines{h.Lines}
			}
			for b.Loop() {
				if _, err := codec.Marshal(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	text := tenMB()
	b.Run("10MB/handover", func(b *testing.B) { benchUnmarshal[lines](b, lines{text}) })
	b.Run("10MB and a handle/handover", func(b *testing.B) { benchUnmarshal[withHandle](b, withHandle{Count: &cell[int]{1}, Lines: text}) })
	b.Run("10MB/codec", func(b *testing.B) {
		data, _ := codec.Marshal(lines{text})
		for b.Loop() {
			var v lines
			if err := codec.Unmarshal(data, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("records/handover", func(b *testing.B) { benchUnmarshal[[]record](b, records(1000)) })
	b.Run("small with handle/handover", func(b *testing.B) {
		benchUnmarshal[withHandle](b, withHandle{Count: &cell[int]{1}, Lines: []string{"a"}})
	})
}

func benchUnmarshal[T any](b *testing.B, v any) {
	data, _ := ship(b, v)
	b.ReportAllocs()
	for b.Loop() {
		var out T
		if _, err := handover.Unmarshal(data, nil, &out); err != nil {
			b.Fatal(err)
		}
	}
}
