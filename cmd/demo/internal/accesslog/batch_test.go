package accesslog_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/cmd/demo/internal/accesslog"
)

func TestBatches(t *testing.T) {
	for _, test := range []struct {
		name    string
		clients []string
		size    int
		batches int // at least
	}{
		{"none", nil, 10, 0},
		{"an empty one", []string{""}, 10, 1},
		{"one batch", []string{"10.0.0.1", "2001:db8:85a3:8d3:1319:8a2e:370:7348", ""}, 1000, 1},
		{"several batches", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", ""}, 20, 2},
		{"one that is larger than a batch", []string{strings.Repeat("x", 1000), "10.0.0.1"}, 20, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c, d accesslog.Clients
			for _, client := range test.clients {
				c.Add([]byte(client))
			}
			n := 0
			for b := range c.Batches(test.size) {
				n++
				if err := d.AddBatch(b); err != nil {
					t.Fatal(err)
				}
			}
			if n < test.batches {
				t.Errorf("%d batches, want at least %d", n, test.batches)
			}
			if d.Len() != len(test.clients) {
				t.Fatalf("%d clients arrived, want %d", d.Len(), len(test.clients))
			}
			for client := range d.All() {
				if !bytes.Contains([]byte(fmt.Sprintf("%q", test.clients)), []byte(fmt.Sprintf("%q", client))) {
					t.Errorf("%q arrived", client)
				}
			}
		})
	}
}

func TestAddBatchRefusesDamagedOnes(t *testing.T) {
	for _, b := range []string{"\x05abc", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"} {
		var c accesslog.Clients
		if err := c.AddBatch([]byte(b)); err == nil {
			t.Errorf("%q was taken for a batch of %d clients", b, c.Len())
		}
	}
}
