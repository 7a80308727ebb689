package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/bench/result"
)

func fixture(t *testing.T) *result.Run {
	t.Helper()
	r, err := result.Load("testdata/result.json")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// texts returns what an SVG says, and fails if it is not XML.
func texts(t *testing.T, svg []byte) string {
	t.Helper()
	var all strings.Builder
	d := xml.NewDecoder(bytes.NewReader(svg))
	for inText := false; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				all.Write(token)
				all.WriteByte('\n')
			}
		}
	}
}

func TestDrawSeries(t *testing.T) {
	s := fixture(t).Group("growth").Series
	var b bytes.Buffer
	if err := drawSeries(&b, s[0]); err != nil {
		t.Fatal(err)
	}
	said := texts(t, b.Bytes())
	for _, want := range []string{"A message", "bytes in a message", "time per message", "queue, Put and Get", "Python Queue", "8 B", "4 KiB", "1 MiB", "100 ns", "1 ms"} {
		if !strings.Contains(said, want+"\n") {
			t.Errorf("the figure does not say %q but\n%s", want, said)
		}
	}
	if strings.Contains(said, "Redis") {
		t.Error("the legend has a line that was not measured")
	}
	if err := drawSeries(&b, s[1]); err == nil {
		t.Error("a figure of nothing")
	}
}

func TestDrawBeside(t *testing.T) {
	var b bytes.Buffer
	if err := drawBeside(&b, "", []string{"this library", "Python", "Redis"}, []Entry{
		{"lock", map[string]float64{"this library": 10, "Python": 400}, 40},
		{"get", map[string]float64{"this library": 3000, "Redis": 18000}, 0},
		{"nothing", nil, 0},
	}); err != nil {
		t.Fatal(err)
	}
	said := texts(t, b.Bytes())
	for _, want := range []string{"lock", "get", "this library", "Python", "Redis", "40.0 ×", "10 ns"} {
		if !strings.Contains(said, want+"\n") {
			t.Errorf("the figure does not say %q but\n%s", want, said)
		}
	}
}

func TestReport(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "docs"), 0o777); err != nil {
		t.Fatal(err)
	}
	page := func(name string, blocks ...string) {
		t.Helper()
		text := "# A page\n\nBefore.\n\n"
		for _, b := range blocks {
			text += "<!-- bench: " + b + " -->\nold\n<!-- /bench -->\n\n"
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text+"After.\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	page("README.md", "overview")
	page("docs/performance.md", "machine", "verdicts", "rows lock", "latencies latency", "series message-size", "series nothing", "rows absent")
	r := fixture(t)
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for range 2 { // what it has written it can write again
		if err := report(r, root); err != nil {
			t.Fatal(err)
		}
	}
	readme, performance := read("README.md"), read("docs/performance.md")
	if !strings.Contains(readme, "](docs/figures/overview.svg)") || !strings.HasSuffix(readme, "After.\n") {
		t.Errorf("README:\n%s", readme)
	}
	for _, want := range []string{
		"Measured on 2026-01-02 by `make bench` in 10 minutes: Some CPU, 2 CPUs, 23 GB of memory; Linux 6.1;", "Redis 7.0.15.",
		"Of 4 ratios that this library is held to, 2 held in this run.",
		"- missed: Mutex lock+unlock beside compare-and-swap pair: 2.75 ×, asked ≤ 2.5 ×",
		"- not measured: Mutex of two beside something: lock.py: python3 is not installed",
		"| Mutex lock+unlock | 10 ns | Python with lock: | 400 ns | 40.0 × faster | 20.0–50.0 | ≥ 8 × faster |",
		"|  | 10 ns | compare-and-swap pair | 4 ns | 2.75 × | 2.50–3.00 | ≤ 2.5 ×, **missed** |",
		"| Mutex of two | 20 ns | something | – | not measured: lock.py: python3 is not installed |",
		"| kept | 10 ns | not kept | 8 ns | 0.80 × as fast | 0.50–0.80 | ≥ 0.7 × as fast |",
		"| memory | 900 KiB | Python \\| spawn | 8000 KiB | 8.89 × less |",
		"| queue, 8 B | this library | 450 ns | 2 µs |",
		"|  | Python SimpleQueue | not measured | |",
		"](figures/message-size.svg)",
		"| bytes in a message | 8 B | 4 KiB | 1 MiB |",
		"| Python Queue | 7.8 µs | 11 µs | – |",
		"Not measured: Redis: redis: redis-server is not installed.",
		"Not measured in this run.",
	} {
		if !strings.Contains(performance, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(performance, "old") || !strings.Contains(performance, "Before.") {
		t.Errorf("not just the blocks were replaced:\n%s", performance)
	}
	if t.Failed() {
		t.Logf("docs/performance.md:\n%s", performance)
	}
	for _, name := range []string{"overview", "message-size"} {
		texts(t, []byte(read("docs/figures/"+name+".svg")))
	}
	if _, err := result.Load(filepath.Join(root, "docs", "performance.json")); err != nil {
		t.Error(err)
	}

	page("docs/performance.md", "weather")
	if err := report(r, root); err == nil || !strings.Contains(err.Error(), "weather") {
		t.Errorf("a block that nobody knows: error %v", err)
	}
	page("docs/performance.md")
	if err := report(r, root); err == nil {
		t.Error("a page without blocks, and no error")
	}
}

// What the pages of the repository show, and their figures, is what the result beside them says.
func TestPagesOfTheRepository(t *testing.T) {
	const repository = "../.."
	r, err := result.Load(filepath.Join(repository, "docs", "performance.json"))
	if err != nil {
		t.Fatal(err)
	}
	made := t.TempDir()
	if err := os.Mkdir(filepath.Join(made, "docs"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(made, page), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := report(r, made); err != nil {
		t.Fatal(err)
	}
	const remedy = "in bench, run\n\tgo run ./figures -json ../docs/performance.json"
	err = fs.WalkDir(os.DirFS(made), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		want, err := os.ReadFile(filepath.Join(made, name))
		if err != nil {
			return err
		}
		if got, err := os.ReadFile(filepath.Join(repository, name)); err != nil {
			t.Errorf("%v; %s", err, remedy)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what docs/performance.json says; %s", name, remedy)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	there, err := os.ReadDir(filepath.Join(repository, "docs", "figures"))
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range there {
		if _, err := os.Stat(filepath.Join(made, "docs", "figures", image.Name())); err != nil {
			t.Errorf("docs/figures/%s is left from an older run: nothing in docs/performance.json makes it", image.Name())
		}
	}
}
