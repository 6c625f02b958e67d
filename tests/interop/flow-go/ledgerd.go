// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/onflow/flow-go/ledger"
)

// ledgerd is ledgerd's engine in a process of its own: ../ledger-driver.cc, where its requests and
// answers are described. The process is started by open and ends with close or kill.
type ledgerd struct {
	program string

	process *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Scanner
}

const (
	longestAnswer = 1 << 28 // Bytes.
	unknownState  = 4       // Reason::UNKNOWN_STATE of ledger/error.h.
)

// refusal is a foreseen error, or a thrown one; that has no reason.
type refusal struct {
	Message string `json:"error"`
	Reason  int    `json:"reason"`
}

func (r *refusal) Error() string { return fmt.Sprintf("%s (reason %d)", r.Message, r.Reason) }

type (
	openRequest struct {
		Do          string `json:"do"`
		Directory   string `json:"directory"`
		Capacity    int    `json:"capacity"`
		SegmentSize int    `json:"segmentSize"`
		Distance    int    `json:"distance"`
		Keep        int    `json:"keep"`
	}
	setRequest struct {
		Do   string    `json:"do"`
		Sets []wireSet `json:"sets"`
	}
	wireSet struct {
		Parent string   `json:"parent"`
		Keys   []string `json:"keys"`
		Values []string `json:"values"`
	}
	getRequest struct {
		Do    string   `json:"do"`
		State string   `json:"state"`
		Keys  []string `json:"keys"`
	}
	plainRequest struct {
		Do string `json:"do"`
	}
	setAnswer struct {
		refusal
		Results []struct {
			refusal
			State string `json:"state"`
		} `json:"results"`
	}
	answer struct {
		refusal
		States   []string `json:"states"`
		Values   []string `json:"values"`
		Warnings []string `json:"warnings"`
		Number   int      `json:"number"`
	}
)

func (l *ledgerd) name() string { return "ledgerd" }

func (l *ledgerd) open(directory string, c config) error {
	l.process = exec.Command(l.program)
	l.process.Stderr = os.Stderr
	l.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if l.input, err = l.process.StdinPipe(); err != nil {
		return err
	}
	output, err := l.process.StdoutPipe()
	if err != nil {
		return err
	}
	l.output = bufio.NewScanner(output)
	l.output.Buffer(nil, longestAnswer)
	if err := l.process.Start(); err != nil {
		l.process = nil
		return err
	}
	_, err = l.ask(openRequest{"open", directory, c.capacity, c.segmentSize, c.distance, c.keep})
	if err != nil {
		l.end()
	}
	return err
}

func (l *ledgerd) set(updates ...update) ([]ledger.State, error) {
	if err := l.send(newSetRequest(updates)); err != nil {
		return nil, err
	}
	states, err := l.receiveStates()
	if err == io.EOF {
		return nil, l.died()
	}
	return states, err
}

func (l *ledgerd) receiveStates() ([]ledger.State, error) {
	var got setAnswer
	if err := l.receive(&got); err != nil {
		return nil, err
	}
	if got.Message != "" {
		return nil, &got.refusal
	}
	states := make([]ledger.State, len(got.Results))
	for i, result := range got.Results {
		if result.Message != "" {
			return nil, &result.refusal
		}
		var err error
		if states[i], err = toState(result.State); err != nil {
			return nil, err
		}
	}
	return states, nil
}

func (l *ledgerd) states() ([]ledger.State, error) {
	got, err := l.ask(plainRequest{"states"})
	if err != nil {
		return nil, err
	}
	states := make([]ledger.State, len(got.States))
	for i, text := range got.States {
		if states[i], err = toState(text); err != nil {
			return nil, err
		}
	}
	return states, nil
}

func (l *ledgerd) get(state ledger.State, keys []ledger.Key) ([]ledger.Value, error) {
	got, err := l.ask(getRequest{"get", hex.EncodeToString(state[:]), hexKeys(keys)})
	if err != nil {
		return nil, err
	}
	values := make([]ledger.Value, len(got.Values))
	for i, text := range got.Values {
		if values[i], err = hex.DecodeString(text); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// checkpoint returns the number of a checkpoint of all that was set by now.
func (l *ledgerd) checkpoint() (int, error) {
	got, err := l.ask(plainRequest{"checkpoint"})
	return got.Number, err
}

func (l *ledgerd) idle() error {
	_, err := l.ask(plainRequest{"idle"})
	return err
}

// warnings returns those since it was last called.
func (l *ledgerd) warnings() ([]string, error) {
	got, err := l.ask(plainRequest{"warnings"})
	return got.Warnings, err
}

func (l *ledgerd) close() error {
	if _, err := l.ask(plainRequest{"close"}); err != nil {
		return err
	}
	return l.end()
}

func (l *ledgerd) end() error {
	l.input.Close()
	err := l.process.Wait()
	l.process = nil
	return err
}

// abandon is for a test that failed.
func (l *ledgerd) abandon() {
	if l.process != nil {
		_ = l.process.Process.Kill()
		_ = l.end()
	}
}

// killDuring sends the batches one after the other, without waiting for answers, and kills the
// process when `answers` of them have come and `delay` has passed. It returns how many batches were
// answered.
func (l *ledgerd) killDuring(batches [][]update, answers int, delay time.Duration) (int, error) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, batch := range batches {
			if l.send(newSetRequest(batch)) != nil {
				return // It is dead.
			}
		}
	}()
	answered := 0
	for ; answered < answers; answered++ {
		if _, err := l.receiveStates(); err != nil {
			return answered, fmt.Errorf("batch %d: %w", answered, err)
		}
	}
	time.Sleep(delay)
	if err := l.process.Process.Kill(); err != nil {
		return answered, err
	}
	for {
		// What was answered before it died is in the pipe. Its last line may be cut short.
		_, err := l.receiveStates()
		if err == nil {
			answered++
			continue
		}
		if refused, ok := err.(*refusal); ok {
			return answered, fmt.Errorf("batch %d: %w", answered, refused)
		}
		break
	}
	_ = l.end() // It was killed.
	<-sent
	return answered, nil
}

func (l *ledgerd) ask(request any) (answer, error) {
	var got answer
	if err := l.send(request); err != nil {
		return got, err
	}
	switch err := l.receive(&got); {
	case err == io.EOF:
		return got, l.died()
	case err != nil:
		return got, err
	case got.Message != "":
		return got, &got.refusal
	}
	return got, nil
}

func (l *ledgerd) send(request any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	_, err = l.input.Write(append(line, '\n'))
	return err
}

func (l *ledgerd) receive(into any) error {
	if !l.output.Scan() {
		if err := l.output.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	return json.Unmarshal(l.output.Bytes(), into)
}

func (l *ledgerd) died() error {
	return fmt.Errorf("ledgerd ended: %v", l.end())
}

func newSetRequest(updates []update) setRequest {
	request := setRequest{"set", make([]wireSet, len(updates))}
	for i, u := range updates {
		values := make([]string, len(u.values))
		for j, value := range u.values {
			values[j] = hex.EncodeToString(value)
		}
		request.Sets[i] = wireSet{hex.EncodeToString(u.parent[:]), hexKeys(u.keys), values}
	}
	return request
}

func hexKeys(keys []ledger.Key) []string {
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = hex.EncodeToString(encodedKey(key))
	}
	return texts
}

func toState(text string) (ledger.State, error) {
	bytes, err := hex.DecodeString(text)
	if err != nil {
		return ledger.DummyState, err
	}
	return ledger.ToState(bytes)
}
