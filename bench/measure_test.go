package main

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/bench/result"
)

// steady is an experiment whose figures are these, one after the other.
func steady(name string, values ...float64) experiment {
	i := -1
	return experiment{name, func(context.Context) (figures, error) {
		i++
		return figures{name: values[i]}, nil
	}}
}

func made(experiments ...experiment) func(context.Context) ([]experiment, func(), error) {
	return func(context.Context) ([]experiment, func(), error) { return experiments, func() {}, nil }
}

func TestRatioIsTheMedianOfTheRoundsRatios(t *testing.T) {
	// The machine is ten times slower in the second round: the ratio of the medians would be 3/10.
	g := group{
		experiments: made(steady("a", 1, 30, 3), steady("b", 2, 60, 10)),
		comparisons: []comparison{{what: "a", ours: "a", against: "b", theirs: "b", faster: 2}},
	}
	r := g.measure(t.Context(), 3).Rows[0]
	if r.Ratio != 0.5 || r.Least != 0.3 || r.Most != 0.5 {
		t.Errorf("ratio %v (%v–%v), want 0.5 (0.3–0.5)", r.Ratio, r.Least, r.Most)
	}
	if r.HereMedian != 3 || r.ThereMedian != 10 {
		t.Errorf("medians %v and %v, want 3 and 10", r.HereMedian, r.ThereMedian)
	}
}

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		name        string
		ratio       float64
		ask, faster float64
		want        string
	}{
		{"nothing asked", 5, 0, 0, ""},
		{"at most, below", 1.9, 2, 0, result.OK},
		{"at most, at the limit", 2, 2, 0, result.OK},
		{"at most, above", 2.1, 2, 0, result.Missed},
		{"faster, enough", 0.1, 0, 8, result.OK},
		{"faster, not enough", 0.2, 0, 8, result.Missed},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := group{
				experiments: made(steady("a", test.ratio), steady("b", 1)),
				comparisons: []comparison{{what: "a", ours: "a", against: "b", theirs: "b", ask: test.ask, faster: test.faster}},
			}
			found := g.measure(t.Context(), 1)
			if got := found.Rows[0].Verdict; got != test.want {
				t.Errorf("verdict %q, want %q", got, test.want)
			}
			whole := result.Run{Groups: []result.Group{found}}
			if whole.Holds() != (test.want != result.Missed) {
				t.Errorf("Holds() = %t", whole.Holds())
			}
		})
	}
}

func TestRoundsRunForwardsAndBackwards(t *testing.T) {
	var order []string
	note := func(name string) experiment {
		return experiment{name, func(context.Context) (figures, error) { order = append(order, name); return nil, nil }}
	}
	group{experiments: made(note("a"), note("b"))}.measure(t.Context(), 3)
	if want := []string{"a", "b", "b", "a", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestNotMeasured(t *testing.T) {
	for _, test := range []struct {
		name   string
		err    error
		failed bool
	}{
		{"a program is missing", missing("python3 is not installed"), false},
		{"an experiment failed", errors.New("connection refused"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			tries := 0
			g := group{
				experiments: made(
					experiment{"lock.py", func(context.Context) (figures, error) { tries++; return nil, test.err }},
					steady("a", 1, 1)),
				comparisons: []comparison{{what: "a", ours: "a", against: "Python", theirs: "python", faster: 8}},
				latencies:   []latency{{what: "l", who: "Python", name: "python l"}},
				series:      []series{{name: "s", at: []int{1}, lines: []line{{"Python", "python s"}}}},
			}
			found := g.measure(t.Context(), 2)
			if found.Failed != test.failed {
				t.Errorf("Failed = %t, want %t", found.Failed, test.failed)
			}
			if tries != 1 {
				t.Errorf("it was tried %d times, want once", tries)
			}
			r := found.Rows[0]
			if r.Verdict != result.NotMeasured || !strings.Contains(r.Why, test.err.Error()) {
				t.Errorf("verdict %q because %q, want %q because of %q", r.Verdict, r.Why, result.NotMeasured, test.err)
			}
			if r.HereMedian != 1 {
				t.Errorf("our side is lost: %v", r.HereMedian)
			}
			for _, why := range []string{found.Latencies[0].Why, found.Series[0].Lines[0].Why} {
				if !strings.Contains(why, test.err.Error()) {
					t.Errorf("reason %q, want %q", why, test.err)
				}
			}
			whole := result.Run{Groups: []result.Group{found}}
			if whole.Holds() == test.failed {
				t.Errorf("Holds() = %t", whole.Holds())
			}
		})
	}
}

// Every figure that a row, a percentile or a line names may be misspelled: then it would never be measured. Names of groups are unique.
func TestGroups(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range groups {
		if seen[g.name] {
			t.Errorf("two groups are called %q", g.name)
		}
		seen[g.name] = true
		for _, c := range g.comparisons {
			if c.ours == "" || c.theirs == "" || c.against == "" {
				t.Errorf("%s: row %+v names no figures", g.name, c)
			}
			if c.ask > 0 && c.faster > 0 {
				t.Errorf("%s: row %q asks for two things", g.name, c.what)
			}
		}
	}
}

func TestCPUTimes(t *testing.T) {
	before := parseTicks("cpu  100 0 50 800 50 0 0 0 7 7\ncpu0 1 2 3\n")
	after := parseTicks("cpu  155 0 70 890 60 0 0 25 7 7\n")
	d := after.since(before)
	if d.all != 200 || d.idle != 100 || d.stolen != 25 {
		t.Errorf("%+v, want 200 ticks, 100 idle, 25 stolen", d)
	}
	if d.busy() != 0.5 || d.stolenShare() != 0.125 {
		t.Errorf("busy %v, stolen %v, want 0.5, 0.125", d.busy(), d.stolenShare())
	}
	mine := use{parseTicks("cpu  0 0 0 1000 0 0 0 0\n"), 0}
	later := use{parseTicks("cpu  100 0 50 1840 0 0 0 10\n"), 100}
	if got := later.others(mine); got != 0.05 {
		t.Errorf("others had %v of the CPU time, want 0.05", got) // 150 ticks of 1000, of which 100 were ours
	}
}

func TestFamilyTicks(t *testing.T) {
	var all []processTicks
	for _, stat := range []string{
		"1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 1000 1000 1000 1000 20 0\n",
		"10 (bench) R 1 10 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0\n",
		"12 (grand ) child) S 11 10 1 0 -1 4194560 1 2 3 4 100 0 0 0 20 0\n",
		"11 (child) S 10 10 1 0 -1 4194560 1 2 3 4 20 30 0 0 20 0\n",
		"13 (neighbour) R 1 13 1 0 -1 4194560 1 2 3 4 500 0 0 0 20 0\n",
	} {
		p, ok := parseProcess(stat)
		if !ok {
			t.Fatalf("cannot read %q", stat)
		}
		all = append(all, p)
	}
	if got := familyTicks(all, 10); got != 26+50+100 {
		t.Errorf("%v ticks, want 176", got)
	}
	if _, ok := parseProcess("gone"); ok {
		t.Error("read what is no stat")
	}
	before := cpuUse()
	for began := time.Now(); cpuUse().ours <= before.ours; { // a tick is 10 ms
		if time.Since(began) > 60*time.Second {
			t.Fatalf("%v ticks, and no more after 20 s of work", before.ours)
		}
	}
}

func TestPrivateKiB(t *testing.T) {
	got, err := privateKiB([]byte("Rss: 1000 kB\nPrivate_Clean:        12 kB\nPrivate_Dirty:       300 kB\nPrivate_Hugetlb:       0 kB\n"))
	if err != nil || got != 312 {
		t.Errorf("%v, %v, want 312", got, err)
	}
	if _, err := privateKiB([]byte("Rss: 1000 kB\n")); err == nil {
		t.Error("no private memory, and no error")
	}
}

func TestTimeEach(t *testing.T) {
	calls := 0
	found, err := timeEach("f", 100, func() error { calls++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if calls != 100+11 {
		t.Errorf("f was called %d times, want 100 and 11 to warm up", calls)
	}
	if p50, p99, worst := found["f p50"], found["f p99"], found["f worst"]; !(0 <= p50 && p50 <= p99 && p99 <= worst) || math.IsNaN(found["f"]) {
		t.Errorf("figures %v", found)
	}
}

// The page of the documentation has a place for every group and every series.
func TestPageShowsEverything(t *testing.T) {
	text, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	want := func(block string) {
		t.Helper()
		if !strings.Contains(string(text), "<!-- bench: "+block+" -->\n") {
			t.Errorf("docs/performance.md has no <!-- bench: %s --> … <!-- /bench -->", block)
		}
	}
	for _, g := range groups {
		if len(g.comparisons) > 0 {
			want("rows " + g.name)
		}
		if len(g.latencies) > 0 {
			want("latencies " + g.name)
		}
		for _, s := range g.series {
			want("series " + s.name)
		}
	}
}
