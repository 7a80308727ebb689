package result

import "fmt"

// Machine is where a Run was measured.
type Machine struct {
	CPU           string // model
	CPUs          int    // that this process may use
	MemoryMB      uint64
	Kernel        string
	Go            string
	Python, Redis string     // versions; "" = not installed
	LoadAtStart   [3]float64 // averages of 1, 5 and 15 minutes
	BusyAtStart   float64    // share of the CPU time that others used in the second before the run
}

// Unquiet says why the machine is not fit for measuring, if it is not.
func (m Machine) Unquiet() []string {
	var why []string
	if m.BusyAtStart > 0.05 {
		why = append(why, fmt.Sprintf("before the run, other programs used %.0f %% of the CPU time", 100*m.BusyAtStart))
	}
	if load := m.LoadAtStart[0]; load > 0.5*float64(m.CPUs) {
		why = append(why, fmt.Sprintf("at the start, the load average was %.2f on %d CPUs", load, m.CPUs))
	}
	return why
}
