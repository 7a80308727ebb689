// Package result is what a run of the benchmarks has found: as it stands in the JSON, and how it is written for people.
//
// It is what the command that measures and the command that draws have in common. They are two, since what draws
// takes a millisecond to start, which would be measured with every process.
package result

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Run is all that a run has found: enough to make every table and figure of the documentation.
type Run struct {
	Command     string // with its arguments
	Date        time.Time
	Seconds     float64
	Rounds      int
	Machine     Machine
	Groups      []Group
	Busy        []string `json:",omitempty"` // why the figures are to be mistrusted
	StolenShare float64  // of the CPU time during the run, by the hypervisor for other guests
}

// Group is what a group has found.
type Group struct {
	Name        string
	Rounds      int
	Seconds     float64
	Rows        []Row                `json:",omitempty"`
	Latencies   []Latency            `json:",omitempty"`
	Series      []Series             `json:",omitempty"`
	NotMeasured map[string]string    `json:",omitempty"` // experiment: why
	Others      float64              // share of the CPU time that other programs used meanwhile
	Failed      bool                 `json:",omitempty"` // one of NotMeasured should have been there
	Samples     map[string][]float64 // figure: one for each round, in nanoseconds or the unit of the row
}

// Row is a comparison. Ratio is the median of the rounds' ratios, and not the ratio of the medians.
type Row struct {
	What, Here, Beside, There string // Here and There name samples
	HereMedian, ThereMedian   float64
	Unit                      string  `json:",omitempty"` // "" = ns
	Ratio, Least, Most        float64 // Here by There: over the rounds
	AtMost, Faster            float64 `json:",omitempty"` // what is asked: Ratio ≤ AtMost, or 1/Ratio ≥ Faster
	Verdict                   string  `json:",omitempty"` // OK, Missed, NotMeasured, or "" if nothing is asked
	Why                       string  `json:",omitempty"` // it was not measured
}

// Verdicts.
const (
	OK          = "ok"
	Missed      = "MISSED"
	NotMeasured = "not measured"
)

// Latency has percentiles of single calls in nanoseconds: each the median of the rounds' percentiles.
type Latency struct {
	What, Who       string
	P50, P99, Worst float64
	Why             string `json:",omitempty"` // it was not measured
}

// Series is how a cost grows with X.
type Series struct {
	Name, Title string // Name is that of the figure's file
	X, Y        string // what the axes show
	Lines       []Line
}

// Line is one of the curves of a Series.
type Line struct {
	What   string
	Points []Point
	Why    string `json:",omitempty"` // there are none
}

// Point is the median of the rounds.
type Point struct {
	X float64
	Y float64 // nanoseconds
}

// Holds reports whether everything that is asked was measured, where it can be, and holds.
func (r *Run) Holds() bool {
	return !slices.ContainsFunc(r.Groups, func(g Group) bool {
		return g.Failed || slices.ContainsFunc(g.Rows, func(r Row) bool { return r.Verdict == Missed })
	})
}

// Group returns what the group with this name has found, or nil.
func (r *Run) Group(name string) *Group {
	for i := range r.Groups {
		if r.Groups[i].Name == name {
			return &r.Groups[i]
		}
	}
	return nil
}

// Samples returns those of a figure, or nil.
func (r *Run) Samples(group, figure string) []float64 {
	if g := r.Group(group); g != nil {
		return g.Samples[figure]
	}
	return nil
}

// Save writes the file that Load reads.
func (r *Run) Save(name string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o666)
}

// Load reads what Save has written.
func Load(name string) (*Run, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(Run)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
