package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Result is all that a run has found, as it stands in the JSON: enough to make every table and figure of the documentation.
type Result struct {
	Command     string // with its arguments
	Date        time.Time
	Seconds     float64
	Rounds      int
	Machine     Machine
	Groups      []GroupResult
	Busy        []string `json:",omitempty"` // why the figures are to be mistrusted
	StolenShare float64  // of the CPU time during the run, by the hypervisor for other guests
}

// GroupResult is what a group has found.
type GroupResult struct {
	Name        string
	Rounds      int
	Seconds     float64
	Rows        []Row                `json:",omitempty"`
	Latencies   []LatencyRow         `json:",omitempty"`
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

// LatencyRow has percentiles of single calls in nanoseconds: each the median of the rounds' percentiles.
type LatencyRow struct {
	What, Who       string
	P50, P99, Worst float64
	Why             string `json:",omitempty"` // it was not measured
}

// Series is how a cost grows with X.
type Series struct {
	Name, Title, X, Y string
	Lines             []Line
}

// Line is one of the curves of a Series.
type Line struct {
	What   string
	Points []Point
	Why    string `json:",omitempty"` // there are none
}

// Point is the median of the rounds.
type Point struct{ X, Y float64 }

// holds reports whether everything that is asked was measured, where it can be, and holds.
func (r *Result) holds() bool {
	return !slices.ContainsFunc(r.Groups, func(g GroupResult) bool {
		return g.Failed || slices.ContainsFunc(g.Rows, func(r Row) bool { return r.Verdict == Missed })
	})
}

// group returns the result of the group with this name, or nil.
func (r *Result) group(name string) *GroupResult {
	for i := range r.Groups {
		if r.Groups[i].Name == name {
			return &r.Groups[i]
		}
	}
	return nil
}

// samples returns those of a figure, or nil.
func (r *Result) samples(group, figure string) []float64 {
	if g := r.group(group); g != nil {
		return g.Samples[figure]
	}
	return nil
}

func (r *Result) save(name string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o666)
}

func loadResult(name string) (*Result, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(Result)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}
