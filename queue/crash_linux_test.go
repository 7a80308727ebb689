package queue_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/reexec"
	"github.com/go-multiproc/multiproc/internal/verify"
	"github.com/go-multiproc/multiproc/psync"
	"github.com/go-multiproc/multiproc/queue"
)

func init() {
	helpers["victim"] = victim
	helpers["hoard"] = hoard
}

// A scene is where a process is killed: a queue, and a log in which it writes down what it
// is about to do with each message, and what it has done.
type scene struct {
	Q   *queue.Queue[[]byte]
	Log *array.Array[uint32]
}

// What the log says of a message.
const (
	putting = 1 << iota
	put
	got    // taken for good
	acking // about to be
	acked
)

// The log's last element says what of no known message the process is doing.
const getting = 1

const (
	messages = 24
	doing    = messages + 1
)

// message is the i-th message: small ones, some that end the ring, and one that is larger than
// it.
func message(i int) []byte {
	n := []int{8, 100, 9000, 8, 40000, 20}[i%6]
	b := make([]byte, n)
	for at := range b {
		b[at] = byte(i + at)
	}
	binary.LittleEndian.PutUint64(b, uint64(i))
	return b
}

// number is which message b is, if it is whole.
func number(b []byte) (int, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("a message of %d bytes", len(b))
	}
	i := int(binary.LittleEndian.Uint64(b))
	if i < 0 || i > messages || !slices.Equal(b, message(i)) {
		return 0, fmt.Errorf("message %d is damaged", i)
	}
	return i, nil
}

func (s *scene) note(i int, what uint32) { s.Log.Store(i, s.Log.Load(i)|what) }

// The roles, by name. Each ends by itself when it is not killed.
var roles = map[string]func(ctx context.Context, s *scene) error{
	"put": func(ctx context.Context, s *scene) error {
		for i := range messages {
			s.note(i, putting)
			if err := s.Q.Put(ctx, message(i)); err != nil {
				return err
			}
			s.note(i, put)
		}
		return nil
	},
	"putMany": func(ctx context.Context, s *scene) error {
		for i := 0; i < messages; i += 3 {
			for j := i; j < i+3; j++ {
				s.note(j, putting)
			}
			if _, err := s.Q.PutMany(ctx, [][]byte{message(i), message(i + 1), message(i + 2)}); err != nil {
				return err
			}
			for j := i; j < i+3; j++ {
				s.note(j, put)
			}
		}
		return nil
	},
	"reserve": func(ctx context.Context, s *scene) error {
		for i := range messages {
			s.note(i, putting)
			r, err := queue.Reserve(ctx, s.Q, len(message(i)))
			if err != nil {
				return err
			}
			copy(r.Bytes(), message(i))
			if err := r.Commit(); err != nil {
				return err
			}
			s.note(i, put)
		}
		return nil
	},
	"get": getRole,
	"getMany": func(ctx context.Context, s *scene) error {
		buf := make([][]byte, 3)
		for taken := 0; taken < messages; {
			s.note(doing, getting)
			n, err := s.Q.GetMany(ctx, buf)
			if err != nil {
				return err
			}
			for _, b := range buf[:n] {
				i, err := number(b)
				if err != nil {
					return err
				}
				s.note(i, got)
			}
			taken += n
			s.Log.Store(doing, 0)
		}
		return nil
	},
	"lease":    leaseRole,
	"poison":   leaseRole,
	"clean":    getRole,
	"bury":     getRole,
	"shutdown": func(ctx context.Context, s *scene) error { return s.Q.Shutdown() },
}

// getRole takes one message after the other.
func getRole(ctx context.Context, s *scene) error {
	for {
		s.note(doing, getting)
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		b, err := s.Q.Get(short)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			// On a busy machine the time may be over before Get has looked.
			var ok bool
			if b, ok, err = s.Q.TryGet(); err == nil && !ok {
				s.Log.Store(doing, 0)
				return nil // no more; some have gone to the dead letters, perhaps
			}
		}
		if err != nil {
			return err
		}
		i, err := number(b)
		if err != nil {
			return err
		}
		s.note(i, got)
		s.Log.Store(doing, 0)
	}
}

// leaseRole holds two leases at a time, acknowledges the later one first, gives the earlier one
// back once, and takes a message behind both.
func leaseRole(ctx context.Context, s *scene) error {
	ack := func(l *queue.Lease[[]byte]) error {
		i, err := number(l.Value())
		if err != nil {
			return err
		}
		s.note(i, acking)
		if err := l.Ack(); err != nil {
			return err
		}
		s.note(i, acked)
		return nil
	}
	for {
		a, err := s.Q.TryLease()
		if a == nil || err != nil {
			return err
		}
		b, err := s.Q.TryLease()
		if err != nil {
			return err
		}
		s.note(doing, getting)
		m, ok, err := s.Q.TryGet()
		if err != nil {
			return err
		}
		if ok {
			i, err := number(m)
			if err != nil {
				return err
			}
			s.note(i, got)
		}
		s.Log.Store(doing, 0)
		if b != nil {
			if err := ack(b); err != nil {
				return err
			}
		}
		if a.Deliveries() == 1 {
			if err := a.Nack(); err != nil {
				return err
			}
			continue
		}
		if err := ack(a); err != nil {
			return err
		}
	}
}

// victim plays a role.
func victim(args []string) int {
	s := taken[*scene](args)
	fmt.Println("begun")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := roles[args[2]](ctx, s); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// hoard leases three messages, reserves a place behind all, and waits to be killed.
func hoard(args []string) int {
	s := taken[*scene](args)
	for range 3 {
		if _, err := s.Q.Lease(context.Background()); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	if _, err := queue.Reserve(context.Background(), s.Q, 10); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("hoarding")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// crashLabels are the labels in the source of the queue.
func crashLabels(t *testing.T) []string {
	t.Helper()
	var labels []string
	for _, pattern := range []string{"*.go", "../internal/ring/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal("no source: ", err)
		}
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`crash\.At\("([^"]+)"\)`).FindAllSubmatch(src, -1) {
				labels = append(labels, string(m[1]))
			}
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// A process is killed at every label in every role. Then the others go on at once, and every
// message is there that has to be: those that were put, and not taken, once; those that were
// being put or taken, once or not at all.
func TestCrashPoints(t *testing.T) {
	if testing.Short() {
		t.Skip("kills some hundred processes")
	}
	bin := filepath.Join(t.TempDir(), "queue.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "multiproc_crash", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	labels := crashLabels(t)
	if len(labels) < 15 {
		t.Fatalf("only %v", labels)
	}
	labels = append(labels, "lock.taken", "lock.released")
	hit := map[string]bool{}
	var times []time.Duration
	for role := range roles {
		for _, label := range labels {
			for _, pass := range []int{1, 2, 5} {
				died := false
				t.Run(fmt.Sprintf("%s/%s:%d", role, label, pass), func(t *testing.T) {
					var d time.Duration
					died, d = crashOnce(t, bin, role, label, pass)
					if died {
						hit[label] = true
						times = append(times, d)
					}
				})
				if !died {
					break
				}
			}
		}
	}
	for _, l := range labels {
		if !hit[l] {
			t.Errorf("no process ever died at %s", l)
		}
	}
	slices.Sort(times)
	if len(times) == 0 {
		t.Fatal("nobody died")
	}
	busy := reexec.Busy(t)
	t.Logf("%d deaths; the others went on after %v (median), %v (nine in ten), %v (worst); to start a process takes %v",
		len(times), times[len(times)/2], times[len(times)*9/10], times[len(times)-1], busy)
	// A machine that stops us for a part of each half second delays more than one in ten.
	if median := times[len(times)/2]; median > 100*time.Millisecond+4*busy {
		t.Errorf("the others went on after %v only, while to start a process takes %v", median, busy)
	}
	if p90 := times[len(times)*9/10]; p90 > time.Second+4*busy {
		t.Errorf("one in ten times the others went on after %v only", p90)
	}
}

func newScene(t *testing.T, role string) *scene {
	t.Helper()
	o := queue.Options{Bytes: 64 << 10}
	switch role {
	case "poison":
		o.MaxDeliveries = 2
	case "bury":
		o.MaxDeliveries = 1
	}
	log, err := array.NewRaw[uint32](messages + 2)
	verify.Must(t, err)
	t.Cleanup(func() { log.Close() })
	return &scene{newQueue[[]byte](t, o), log}
}

func crashOnce(t *testing.T, bin, role, label string, pass int) (died bool, after time.Duration) {
	ctx := soon(t)
	s := newScene(t, role)
	// Near its end, so that records do not fit and pads are needed.
	for range 6 {
		verify.Must(t, s.Q.Put(ctx, make([]byte, 9000)))
		_, err := s.Q.Get(ctx)
		verify.Must(t, err)
		verify.Must(t, s.Q.TaskDone())
	}
	producer := role == "put" || role == "putMany" || role == "reserve"
	if !producer {
		for i := range messages {
			verify.Must(t, s.Q.Put(ctx, message(i)))
			s.note(i, put)
		}
	}
	if role == "clean" || role == "bury" {
		h := start(t, "hoard", s)
		if got := h.Line(); got != "hoarding" {
			t.Fatal(got)
		}
		h.Kill()
	}
	arg, files := reexec.Give(t, s)
	cmd := exec.Command(bin, arg, strconv.Itoa(len(files)), role)
	cmd.Env = append(os.Environ(), fmt.Sprintf("MULTIPROC_CRASH=%s:%d", label, pass))
	v := reexec.StartCmd(t, cmd, "victim", files)
	out, _ := io.ReadAll(v.Out)
	v.Cmd.Wait()
	ws := v.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	died = ws.Signaled() && ws.Signal() == syscall.SIGKILL
	if string(out) != "begun\n" || !died && ws.ExitStatus() != 0 {
		t.Fatalf("the victim says %q", out)
	}

	// The others go on: one more message gets in, and one gets out.
	began := time.Now()
	err := s.Q.Put(ctx, message(messages))
	if role != "shutdown" {
		verify.Must(t, err)
	}
	s.note(messages, putting)
	if err == nil {
		s.note(messages, put)
	}
	verify.Must(t, s.Q.Shutdown())
	var arrived []int
	count := make([]int, messages+1)
	for {
		b, err := s.Q.Get(ctx)
		if errors.Is(err, queue.ErrClosed) {
			break
		}
		verify.Must(t, err)
		if after == 0 {
			after = time.Since(began)
		}
		i, err := number(b)
		verify.Must(t, err)
		arrived = append(arrived, i)
		count[i]++
		verify.Must(t, s.Q.TaskDone())
	}
	letters := make([]int, messages+1)
	if d := s.Q.DeadLetters(); d != nil {
		for d.Len() > 0 {
			b, err := d.Get(ctx)
			verify.Must(t, err)
			i, err := number(b)
			verify.Must(t, err)
			letters[i]++
		}
	}
	missing := 0
	for i := range messages + 1 {
		state := s.Log.Load(i)
		n := count[i]
		// Who dies between burying a message and taking it away leaves it twice.
		if letters[i] > 2 || n > 0 && letters[i] > 0 {
			t.Errorf("message %d arrived %d times, and %d times among the dead letters", i, n, letters[i])
		}
		if letters[i] > 0 {
			n = 1
		}
		switch {
		case n > 1:
			t.Errorf("message %d arrived %d times", i, n)
		case state&(got|acked) != 0:
			if n != 0 && letters[i] == 0 {
				t.Errorf("message %d was taken, and came again", i)
			}
		case state&acking != 0: // both is right
		case state&put != 0:
			missing += 1 - n
		case state&putting != 0: // both is right
		default:
			if n != 0 {
				t.Errorf("message %d arrived without being put", i)
			}
		}
	}
	allowed := 0
	if s.Log.Load(doing) == getting {
		allowed = 1
		if role == "getMany" {
			allowed = 3
		}
	}
	if missing > allowed {
		t.Errorf("%d messages are lost, %d may be; arrived: %v", missing, allowed, arrived)
	}
	if producer && !slices.IsSorted(arrived) {
		t.Errorf("arrived out of order: %v", arrived)
	}
	if err := s.Q.Join(ctx); err != nil {
		if !errors.Is(err, psync.ErrOwnerDied) || producer {
			t.Errorf("Join: %v", err)
		}
		n, err := s.Q.Recover(ctx)
		if n == 0 || err != nil {
			t.Errorf("Recover: %d, %v", n, err)
		}
		verify.Must(t, s.Q.Join(ctx))
	}
	return died, after
}
