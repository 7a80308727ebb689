package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/go-multiproc/multiproc/bench/result"
)

// pages are those that show figures, relative to the root of the repository.
var pages = []string{"README.md", "docs/performance.md"}

// block is a part of a page that is made of a result: <!-- bench: NAME --> … <!-- /bench -->.
var block = regexp.MustCompile(`(?s)<!-- bench: ([a-z0-9 -]+) -->\n.*?<!-- /bench -->`)

// report writes the tables and figures of a result into the pages of the repository at root, and the result beside them.
func report(r *result.Run, root string) error {
	images := filepath.Join(root, "docs", "figures")
	if err := os.MkdirAll(images, 0o777); err != nil {
		return err
	}
	image := func(name string, draw func(*bytes.Buffer) error) error {
		var b bytes.Buffer
		if err := draw(&b); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(images, name+".svg"), b.Bytes(), 0o666)
	}
	err := image("overview", func(b *bytes.Buffer) error {
		return drawBeside(b, "", systems, overview(r))
	})
	if err != nil {
		return err
	}
	for _, g := range r.Groups {
		for _, s := range g.Series {
			if !s.Measured() {
				continue
			}
			if err := image(s.Name, func(b *bytes.Buffer) error { return drawSeries(b, s) }); err != nil {
				return err
			}
		}
	}
	for _, page := range pages {
		name := filepath.Join(root, page)
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		images, err := filepath.Rel(filepath.Dir(page), "docs/figures")
		if err != nil {
			return err
		}
		filled, err := fillPage(r, string(text), filepath.ToSlash(images)+"/")
		if err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		if err := os.WriteFile(name, []byte(filled), 0o666); err != nil {
			return err
		}
	}
	return r.Save(filepath.Join(root, "docs", "performance.json"))
}

// fillPage replaces what stands in the blocks of a page. images is the folder of the figures, as seen from the page.
func fillPage(r *result.Run, page, images string) (string, error) {
	var failed error
	found := 0
	filled := block.ReplaceAllStringFunc(page, func(old string) string {
		found++
		name := block.FindStringSubmatch(old)[1]
		text, err := section(r, name, images)
		if err != nil {
			failed = fmt.Errorf("block %q: %w", name, err)
		}
		return fmt.Sprintf("<!-- bench: %s -->\n%s\n<!-- /bench -->", name, strings.TrimSpace(text))
	})
	if found == 0 && failed == nil {
		failed = fmt.Errorf("no block <!-- bench: … -->")
	}
	return filled, failed
}

// section is the text of a block.
func section(r *result.Run, name, images string) (string, error) {
	kind, rest, _ := strings.Cut(name, " ")
	switch kind {
	case "machine":
		return where(r), nil
	case "verdicts":
		return verdicts(r), nil
	case "overview":
		return fmt.Sprintf("![%s](%soverview.svg)", overviewText, images), nil
	case "rows":
		return rows(r, rest)
	case "latencies":
		return percentiles(r, rest)
	case "series":
		for _, g := range r.Groups {
			for _, s := range g.Series {
				if s.Name == rest && s.Measured() {
					return fmt.Sprintf("![%s: %s by %s](%s%s.svg)\n\n%s", s.Title, s.Y, s.X, images, s.Name, table(s)), nil
				}
			}
		}
		return "Not measured in this run.", nil
	}
	return "", fmt.Errorf("nobody knows what goes there")
}

// where says on what, when and how a result was measured.
func where(r *result.Run) string {
	m := r.Machine
	command := "make bench"
	if r.Command != "go run ." {
		command = r.Command // of some groups, or with other settings
	}
	text := fmt.Sprintf("Measured on %s by `%s` in %.0f minutes: %s, %d CPUs, %d GB of memory; %s; %s; %s; %s. Load average at the start: %.2f.",
		r.Date.Format("2006-01-02"), command, r.Seconds/60, m.CPU, m.CPUs, (m.MemoryMB+512)/1024, m.Kernel, m.Go, cmp.Or(m.Python, "no Python"), cmp.Or(shortVersion(m.Redis), "no Redis"), m.LoadAtStart[0])
	if len(r.Busy) > 0 {
		text += "\n\n**The machine was not quiet,** so single figures are worth little: " + strings.Join(r.Busy, "; ") + "."
	}
	return text
}

// shortVersion leaves out of Redis's what says nothing here.
func shortVersion(version string) string {
	v, _, _ := strings.Cut(version, " sha=")
	return strings.Replace(v, "server v=", "", 1)
}

// verdicts says which of the asked ratios hold.
func verdicts(r *result.Run) string {
	count := map[string]int{}
	var others []string
	for _, g := range r.Groups {
		for _, row := range g.Rows {
			if row.AtMost == 0 && row.Faster == 0 {
				continue
			}
			count[row.Verdict]++
			s := row.Text()
			switch row.Verdict {
			case result.Missed:
				others = append(others, fmt.Sprintf("- missed: %s beside %s: %s, asked %s", s.What, s.Beside, s.Ratio, s.Asked))
			case result.NotMeasured:
				others = append(others, fmt.Sprintf("- not measured: %s beside %s: %s", s.What, s.Beside, row.Why))
			}
		}
	}
	text := fmt.Sprintf("Of %d ratios that this library is held to, %d held in this run.", count[result.OK]+count[result.Missed]+count[result.NotMeasured], count[result.OK])
	return text + "\n\n" + strings.Join(others, "\n")
}

// rows is the table of a group's comparisons.
func rows(r *result.Run, group string) (string, error) {
	g := r.Group(group)
	if g == nil {
		return "Not measured in this run.", nil
	}
	var b strings.Builder
	b.WriteString("| | here | beside | there | ratio | in the rounds | asked |\n|---|--:|---|--:|--:|--:|---|\n")
	last := ""
	for _, row := range g.Rows {
		s := row.Text()
		if s.What == last {
			s.What = ""
		}
		last = row.What
		switch row.Verdict {
		case result.NotMeasured:
			s.Ratio = "not measured: " + row.Why
		case result.Missed:
			s.Asked += ", **missed**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", cell(s.What), s.Here, cell(s.Beside), s.There, cell(s.Ratio), s.Spread, s.Asked)
	}
	for _, name := range slices.Sorted(maps.Keys(g.NotMeasured)) {
		fmt.Fprintf(&b, "\nNot measured: %s: %s.\n", name, g.NotMeasured[name])
	}
	return b.String(), nil
}

// percentiles is the table of a group's single calls.
func percentiles(r *result.Run, group string) (string, error) {
	g := r.Group(group)
	if g == nil {
		return "Not measured in this run.", nil
	}
	var b strings.Builder
	b.WriteString("| one call | by | p50 | p99 |\n|---|---|--:|--:|\n")
	last := ""
	for _, l := range g.Latencies {
		what := l.What
		if what == last {
			what = ""
		}
		last = l.What
		if l.Why != "" {
			fmt.Fprintf(&b, "| %s | %s | not measured | |\n", cell(what), cell(l.Who))
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(what), cell(l.Who), result.Quantity(l.P50, ""), result.Quantity(l.P99, ""))
	}
	for _, name := range slices.Sorted(maps.Keys(g.NotMeasured)) {
		fmt.Fprintf(&b, "\nNot measured: %s: %s.\n", name, g.NotMeasured[name])
	}
	return b.String(), nil
}

// table is a series in figures.
func table(s result.Series) string {
	xs := s.Xs()
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |", s.X)
	for _, x := range xs {
		fmt.Fprintf(&b, " %s |", s.Label(x))
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(xs)) + "\n")
	for _, l := range s.Lines {
		fmt.Fprintf(&b, "| %s |", cell(l.What))
		for _, x := range xs {
			fmt.Fprintf(&b, " %s |", cmp.Or(l.At(x), "–"))
		}
		b.WriteString("\n")
	}
	for _, l := range s.Lines {
		if l.Why != "" {
			fmt.Fprintf(&b, "\nNot measured: %s: %s.\n", l.What, l.Why)
		}
	}
	return b.String()
}

// cell is text for a Markdown table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// The systems of the overview.
var systems = []string{"this library", "Python", "Redis", "bare machine"}

const overviewText = "One operation at a time: this library, Python's multiprocessing, Redis, and what the machine takes at least"

// overview is what the README shows: for each operation the figures of the systems, as group and name of samples, or of another group as group:name.
func overview(r *result.Run) []Entry {
	var entries []Entry
	for _, e := range []struct {
		what, group              string
		ours, python, redis, raw string
	}{
		{"lock, unlock", "lock", "mutex", "python with", "redis:setnx", "cas pair"},
		{"add to a shared number", "value", "value add", "python update", "redis:incr", "heap add"},
		{"queue, 8 bytes", "growth", "queue size 8", "python queue size 8", "redis:list", "copies size 8"},
		{"queue, 1 MiB", "growth", "queue size 1048576", "python queue size 1048576", "", "copies size 1048576"},
		{"pipe, there and back", "conn", "bytes", "python bytes", "", "bare"},
		{"manager, get", "latency", "dict get", "python get", "redis get", ""},
		{"manager, set", "latency", "dict set", "python set", "redis set", ""},
		{"pool, Map, per task", "pool", "map 1", "python map 1", "", ""},
		{"pool, Apply", "pool", "apply", "python apply", "", ""},
		{"start, join: forkserver", "start", "forkserver in a row", "python forkserver", "", ""},
		{"start, join: spawn", "start", "spawn", "python spawn", "", "os/exec"},
		{"a job: eight logs", "logs", "logstats", "python logstats", "", ""},
	} {
		entry := Entry{What: e.what, Times: map[string]float64{}}
		for i, figure := range []string{e.ours, e.python, e.redis, e.raw} {
			if figure == "" {
				continue
			}
			group := e.group
			if other, name, ok := strings.Cut(figure, ":"); ok {
				group, figure = other, name
			}
			if found := r.Samples(group, figure); len(found) > 0 {
				entry.Times[systems[i]] = result.Median(found)
			}
		}
		if e.python != "" {
			entry.Ratio = result.Median(result.Ratios(r.Samples(e.group, e.python), r.Samples(e.group, e.ours)))
		}
		if len(entry.Times) > 0 {
			entries = append(entries, entry)
		}
	}
	return entries
}
