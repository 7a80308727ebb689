package house_test

import (
	"path"
	"strconv"
	"strings"
	"testing"
)

// layers is the order of the packages, the lowest first. A package imports only what
// stands on a lower line, or before it on its own.
var layers = [][]string{
	{"internal"},
	{"shm"},
	{"psync"},
	{"pipe"},
	{"value", "array"},
	{"queue"},
	{"process"},
	{"manager"},
	{"pool"},
	{"tests", "cmd"},
}

// rank places a directory in layers; ok is false for one that the list does not know.
func rank(dir string) (line, place int, ok bool) {
	top, _, _ := strings.Cut(dir, "/")
	for l, names := range layers {
		for p, name := range names {
			if name == top {
				return l, p, true
			}
		}
	}
	return 0, 0, false
}

// Imports point downwards only. Tests may look up: a lock is tested across processes.
func TestImportsPointDownwards(t *testing.T) {
	for _, s := range sources(t) {
		if separateModule(s.path) {
			continue
		}
		line, place, ok := rank(s.dir)
		if !ok {
			t.Errorf("%s: directory %s has no place in the list of layers", s.path, s.dir)
			continue
		}
		if s.isTest {
			continue
		}
		for _, i := range s.file.Imports {
			imported, _ := strconv.Unquote(i.Path.Value)
			dir, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			l, p, ok := rank(dir)
			sameTop := strings.HasPrefix(dir+"/", strings.SplitN(s.dir, "/", 2)[0]+"/")
			if !ok || l > line || l == line && p >= place && !sameTop {
				t.Errorf("%s: %s imports %s, which stands above it", s.at(i.Pos()), s.dir, dir)
			}
		}
	}
}

// allowed says which packages outside the standard library may be imported, and where.
// A library's dependencies are its users' too, so each one more needs a reason.
var allowed = map[string][]string{
	"golang.org/x/sys/":            {"internal", "shm", "psync", "pipe", "value", "array", "queue", "process", "manager", "pool", "cmd", "tests"},
	"github.com/edsrzf/mmap-go":    {"internal", "shm"},
	"github.com/gofrs/flock":       {"psync", "internal"},
	"github.com/tidwall/wal":       {"internal"},
	"github.com/fxamacker/cbor/v2": {"internal", "manager", "pipe"},
	"github.com/spf13/cobra":       {"cmd"},
	// Only its tests, which no user's build fetches.
	"github.com/anishathalye/porcupine": {"tests"},
	"github.com/vbauerster/mpb/v8":      {"cmd"},
}

func TestDependenciesStayWhereTheyBelong(t *testing.T) {
	for _, s := range sources(t) {
		if separateModule(s.path) {
			continue
		}
		top, _, _ := strings.Cut(s.dir, "/")
	imports:
		for _, i := range s.file.Imports {
			imported, _ := strconv.Unquote(i.Path.Value)
			first, _, _ := strings.Cut(imported, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(imported, module+"/") {
				continue
			}
			for prefix, where := range allowed {
				if imported != strings.TrimSuffix(prefix, "/") && !strings.HasPrefix(imported, strings.TrimSuffix(prefix, "/")+"/") {
					continue
				}
				for _, w := range where {
					if w == top {
						continue imports
					}
				}
			}
			t.Errorf("%s: %s may not import %s", s.at(i.Pos()), s.dir, imported)
		}
	}
}

// separateModule reports whether a file belongs to a module of its own, whose
// dependencies are not our users'.
func separateModule(name string) bool {
	top, _, _ := strings.Cut(path.Clean(name), "/")
	return top == "bench" || top == "tools"
}
