package main

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		name    string
		samples []float64
		want    float64
	}{
		{"none", nil, 0},
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 2, 100}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := median(test.samples); got != test.want {
				t.Errorf("median of %v is %v, want %v", test.samples, got, test.want)
			}
		})
	}
	samples := []float64{3, 1, 2}
	median(samples)
	if samples[0] != 3 {
		t.Errorf("median has sorted its argument: %v", samples)
	}
}

func TestQuantity(t *testing.T) {
	for _, test := range []struct {
		v          float64
		unit, want string
	}{
		{0.3512, "", "0.351 ns"}, {12.34, "", "12.3 ns"}, {999.4, "", "999 ns"}, {999.6, "", "1 µs"}, {1e3, "", "1 µs"}, {45_670, "", "45.7 µs"},
		{999.9e3, "", "1 ms"}, {2.5e9, "", "2.5 s"}, {8384, "KiB", "8384 KiB"}, {12.345, "KiB", "12.3 KiB"},
	} {
		if got := quantity(test.v, test.unit); got != test.want {
			t.Errorf("quantity(%v, %q) = %q, want %q", test.v, test.unit, got, test.want)
		}
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
