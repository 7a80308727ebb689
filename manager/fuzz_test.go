package manager_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/go-multiproc/multiproc/manager"
)

// conversation is what client and server say in docs/protocol.md, each as one stream of frames without the hellos.
func conversation(f *testing.F) (client, server []byte) {
	f.Helper()
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		f.Fatal(err)
	}
	spaces := regexp.MustCompile(`\s`)
	var said [2][][]byte
	for _, block := range strings.Split(string(doc), "```") {
		from := -1
		var text string
		end := func() {
			if b, err := hex.DecodeString(spaces.ReplaceAllString(text, "")); err == nil && from >= 0 {
				said[from] = append(said[from], b)
			}
			text = ""
		}
		for line := range strings.Lines(block) {
			switch {
			case strings.HasPrefix(line, "C→S"):
				end()
				from = 0
			case strings.HasPrefix(line, "S→C"):
				end()
				from = 1
			default:
				text += line
			}
		}
		end()
	}
	if len(said[0]) < 10 || len(said[1]) < 10 {
		f.Fatalf("docs/protocol.md has %d and %d frames", len(said[0]), len(said[1]))
	}
	return bytes.Join(said[0][1:], nil), bytes.Join(said[1][1:], nil)
}

func split(b []byte) (frames [][]byte) {
	for len(b) >= 4 {
		n := 4 + int(binary.BigEndian.Uint32(b))
		if n > len(b) {
			break
		}
		frames = append(frames, b[4:n])
		b = b[n:]
	}
	return frames
}

// typesConversation is requests for every operation on a dict (1), a list (2), a set (3), a namespace (4), a value (5) and an array (6), and on places in them.
func typesConversation(f testing.TB) (client []byte) {
	f.Helper()
	key, value, doc := []byte("\x61a"), []byte("\x01"), []byte("\xa1\x61a\x82\x01\x02")
	var requests [][]any
	for _, kind := range []int{1, 2, 3, 11, 12} {
		requests = append(requests, []any{4, kind, "x"})
	}
	requests = append(requests, []any{4, 13, "x", 9}, []any{34, 1, key, value}, []any{34, 1, value, doc}, []any{50, 1, 1}, []any{47, 1}, []any{34, 1, value, doc}, []any{67, 2, value, doc, key, value}, []any{97, 3, key, value})
	for _, base := range []int{32, 320} {
		obj := 1
		if base == 320 {
			obj = 4
		}
		requests = append(requests, []any{base + 2, obj, key, doc}, []any{base + 11, obj, key}, []any{base + 12, obj, key, value}, []any{base + 13, obj, key, value},
			[]any{base + 17, obj, 0}, []any{base + 9, obj, value}, []any{base + 14, obj, key}, []any{base + 8, obj}, []any{base + 7, obj, 0})
	}
	requests = append(requests, []any{448, 1, key, value, 1 << 40}, []any{449, 1, key, 1}, []any{450, 1, key}, []any{352, 5}, []any{355, 5, doc},
		[]any{353, 5, doc}, []any{354, 5, doc}, []any{356, 5})
	for _, obj := range []int{1, 2, 3, 4, 5, 6} {
		requests = append(requests, []any{18, obj}, []any{19, obj}, []any{19, obj, key})
		for _, where := range []any{value, key, nil, 1, -1} {
			requests = append(requests, []any{21, obj, where}, []any{21, obj, where, key, []byte{0}}, []any{22, obj, where, doc}, []any{22, obj, where, value, key, []byte{1}},
				[]any{23, obj, where, key, []byte{0}}, []any{24, obj, where, 4, value, key, []byte{0}}, []any{25, obj, where, []byte("\x81\x05"), key},
				[]any{26, obj, where, doc, nil}, []any{26, obj, where, nil, doc}, []any{26, obj, where, value, doc, key, []byte{0}})
		}
	}
	for _, list := range [][]int{{2, 71, 72, 73, 74, 78, 80, 81, 77}, {6, 388, 389, 390, 391, 393, 394, 395, 392}} {
		obj, n := list[0], list[1:]
		requests = append(requests, []any{n[0], obj, 0, -1}, []any{n[1], obj, 0, 1, value}, []any{n[2], obj, 0, 100, value}, []any{n[3], obj, doc}, []any{n[4], obj, true},
			[]any{n[5], obj}, []any{n[6], obj, 1, value, value, value, value, value, value, value, value, value}, []any{n[7], obj})
	}
	requests = append(requests, []any{75, 2, value}, []any{79, 2, 2}, []any{76, 2}, []any{396, 6, doc}, []any{384, 6}, []any{385, 6, 0}, []any{386, 6, 0, doc}, []any{387, 6},
		[]any{96, 3}, []any{98, 3, key}, []any{99, 3, key, value}, []any{100, 3}, []any{102, 3, 0}, []any{103, 3}, []any{104, 3, 4, 3, 3}, []any{105, 3, 1, 3}, []any{106, 3, 1, 3}, []any{101, 3})
	for id, r := range requests {
		b, err := cbor.Marshal(append([]any{id + 1}, r...))
		if err != nil {
			f.Fatal(err)
		}
		client = append(client, framed(b)...)
		if r[0] == 19 { // and what it has to tell
			if b, err = cbor.Marshal([]any{id + 1000, 20, id + 1, 0}); err != nil {
				f.Fatal(err)
			}
			client = append(client, framed(b)...)
		}
	}
	return client
}

// Whatever a client sends, the server answers with whole frames that hold one CBOR array each, or hangs up.
func FuzzServerRequests(f *testing.F) {
	client, _ := conversation(f)
	f.Add(client)
	for _, request := range []any{
		[]any{1, 4, 1, "x"}, []any{2, 37, 1, []byte("a"), []byte("b"), []byte("c"), []any{[]byte("d"), []int{1, 1}}},
		[]any{3, 40, 1}, []any{4, 39, 1, 1}, []any{5, 38, 1, []byte("a")}, []any{6, 8, 1}, []any{7, 70, 2},
		[]any{8, 68, 2, -1, []byte("x")}, []any{9, 11, 3}, []any{0, 10, make([]byte, 16)},
		// What waits: objects 3 to 9 of their kinds, and each of their operations, some of which wait for a later one.
		[]any{20, 4, 4, "q", 2, 2}, []any{21, 4, 5, ""}, []any{22, 4, 7, "", 1}, []any{23, 4, 8, "", 3}, []any{24, 4, 9, ""}, []any{25, 4, 10, "", 2}, []any{26, 4, 14, "account"},
		[]any{30, 132, 2, 1}, []any{31, 134, 2}, []any{32, 130, 2, []byte("x")}, []any{33, 131, 2, []byte("y"), []any{[]byte("z"), []int{1}}}, []any{34, 136, 2, 31}, []any{35, 137, 2, 31},
		[]any{0, 17, 30, 31}, []any{0, 16, 30}, []any{0, 0, 31}, []any{36, 138, 2}, []any{37, 139, 2}, []any{38, 140, 2}, []any{39, 141, 2}, []any{40, 142, 2}, []any{41, 143, 2},
		[]any{50, 160, 4, 0}, []any{51, 160, 4, 2}, []any{52, 161, 4}, []any{53, 162, 4, 50, false}, []any{54, 163, 4, 51}, []any{55, 164, 4},
		[]any{60, 192, 5}, []any{61, 192, 5}, []any{62, 193, 5}, []any{63, 194, 5, 60}, []any{64, 195, 5},
		[]any{70, 224, 6, 51}, []any{71, 225, 6, 1}, []any{72, 226, 6}, []any{0, 16, 70}, []any{80, 259, 7}, []any{81, 256, 7}, []any{82, 257, 7}, []any{83, 258, 7},
		[]any{90, 288, 8}, []any{91, 288, 8}, []any{92, 288, 8}, []any{93, 289, 8}, []any{94, 290, 8}, []any{95, 291, 8}, []any{96, 416, 9, "method", []byte{1}}, []any{0, 15}, []any{0, 7, 2, 1, 4, 1},
	} {
		b, err := cbor.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		client = append(client, framed(b)...)
		f.Add(framed(b))
	}
	f.Add(client)
	f.Add(typesConversation(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		frames := split(b)
		sent, _ := manager.FeedServer(frames)
		for len(sent) > 0 {
			if len(sent) < 4 || int(binary.BigEndian.Uint32(sent)) > len(sent)-4 {
				t.Fatalf("the server sends half a frame: %x", sent)
			}
			n := 4 + int(binary.BigEndian.Uint32(sent))
			var reply []cbor.RawMessage
			if err := cbor.Unmarshal(sent[4:n], &reply); err != nil || len(reply) < 2 {
				t.Fatalf("the server sends %x: %v", sent[4:n], err)
			}
			sent = sent[n:]
		}
	})
}

// Whatever a server sends, calls end with a result or an error.
func FuzzClientReplies(f *testing.F) {
	_, server := conversation(f)
	f.Add(server)
	for _, reply := range []any{
		[]any{1, 0, []byte{1}}, []any{1, 0, nil}, []any{1, 3, "x"}, []any{0, 9, "bye"}, []any{1, 0, 0, []byte{0x61, 0x61}, []byte{1}},
		[]any{1, 0, []any{[]byte{0x9a, 0, 0, 0, 3, 1, 2, 7}, []int{7}}}, []any{1, 0, []any{[]byte{1}, []int{7, 7}}},
	} {
		b, err := cbor.Marshal(reply)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(framed(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, do := range []func(ctx context.Context, c manager.ScriptedClient) error{
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, err := c.Manager.Stats(ctx)
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, _, err := c.Dict.Get(ctx, "a")
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				v, err := c.Lists.Pop(ctx, 0)
				if v != nil {
					v.Close()
				}
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, err := c.Lists.Snapshot(ctx)
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, err := c.Strings.Snapshot(ctx)
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, err := c.Strings.BatchGet(ctx, []int{1, 2})
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, err := c.Dict.Update(ctx, "a", func(v any, ok bool) (any, error) { return v, nil })
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				return c.Dict.Each(ctx, func(string, any) error { return nil })
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				w, err := c.Dict.Watch(ctx)
				if err != nil {
					return err
				}
				defer w.Close()
				_, err = w.Next(ctx)
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, _, _, err := c.Dict.PopItem(ctx)
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, err := manager.Add(ctx, manager.Within[int8](c.Dict.At("a"), "b"), 1)
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, _, err := c.Dict.TTL(ctx, "a")
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				_, err := c.Lists.Index(ctx, nil)
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				copied, err := c.Dict.Copy(ctx)
				if err == nil {
					err = copied.Close()
				}
				return err
			},
			func(ctx context.Context, c manager.ScriptedClient) error {
				for range c.Dict.Keys(ctx) {
				}
				return nil
			},
		} {
			c := manager.Scripted(b)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			begun := time.Now()
			for n := 0; n < 100 && do(ctx, c) == nil; n++ {
			}
			if time.Since(begun) > patience/10 {
				t.Errorf("call %d took %v", i, time.Since(begun))
			}
			cancel()
			for _, closer := range []io.Closer{c.Dict, c.Lists, c.Strings, c.Manager} {
				if err := closer.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func FuzzHello(f *testing.F) {
	for _, hello := range []any{
		[]any{"multiproc-manager", 1, 1, "name"},
		[]any{"multiproc-manager", 1, make([]byte, 16), 1 << 20},
		[]any{"multiproc-manager", 1, make([]byte, 16), 1 << 20, "later"},
	} {
		b, err := cbor.Marshal(hello)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { manager.ReadHellos(b) })
}

// What the fuzzer begins with is no nonsense: each operation is done by some of it.
func TestConversationOfTypes(t *testing.T) {
	client := split(typesConversation(t))
	ops := map[uint64]uint64{}
	for _, b := range client {
		var request []cbor.RawMessage
		var id, op uint64
		if err := errors.Join(cbor.Unmarshal(b, &request), cbor.Unmarshal(request[0], &id), cbor.Unmarshal(request[1], &op)); err != nil {
			t.Fatal(err)
		}
		ops[id] = op
	}
	sent, err := manager.FeedServer(client)
	if err != nil {
		t.Fatal(err)
	}
	done, failed := map[uint64]bool{}, map[uint64]string{}
	for _, b := range split(sent) {
		var reply []any
		if err := cbor.Unmarshal(b, &reply); err != nil {
			t.Fatal(err)
		}
		op := ops[reply[0].(uint64)]
		if reply[1].(uint64) == 0 {
			done[op] = true
		} else {
			failed[op] = reply[2].(string)
		}
	}
	for _, op := range ops {
		if !done[op] {
			t.Errorf("operation %d was never done: %s", op, failed[op])
		}
	}
	if len(done) < 70 {
		t.Errorf("%d operations", len(done))
	}
}
