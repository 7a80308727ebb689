package result_test

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-multiproc/multiproc/bench/result"
)

func TestRunSurvivesJSON(t *testing.T) {
	r, err := result.Load("../figures/testdata/result.json")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "r.json")
	if err := r.Save(name); err != nil {
		t.Fatal(err)
	}
	again, err := result.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, again) {
		t.Errorf("saved %+v, loaded %+v", r, again)
	}
	if r.Holds() {
		t.Error("a missed ratio, and Holds() = true")
	}
}

func TestUnquiet(t *testing.T) {
	for _, test := range []struct {
		name    string
		machine result.Machine
		reasons int
	}{
		{"quiet", result.Machine{CPUs: 2, BusyAtStart: 0.02, LoadAtStart: [3]float64{0.4}}, 0},
		{"load", result.Machine{CPUs: 2, BusyAtStart: 0.02, LoadAtStart: [3]float64{1.4}}, 1},
		{"busy with a load", result.Machine{CPUs: 2, BusyAtStart: 0.2, LoadAtStart: [3]float64{1.4}}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			if why := test.machine.Unquiet(); len(why) != test.reasons {
				t.Errorf("%q, want %d reasons", why, test.reasons)
			}
		})
	}
}
