package worker

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// process is a running worker.
type process struct {
	cmd   *exec.Cmd
	idle  *time.Timer
	after time.Duration // how long idle waits
	ended chan struct{} // closed once nothing of it is left

	mu       sync.Mutex // also keeps requests apart on their way
	in       io.WriteCloser
	last     uint32                 // request
	pending  map[uint32]chan answer // nil: it takes no more
	answered bool
}

// start starts a process. It gets no setting of this one, because these have secrets, and no file but its input and output.
func (w *Worker) start() (*process, error) {
	p := &process{cmd: exec.Command(w.program), after: w.idle, ended: make(chan struct{}), pending: map[uint32]chan answer{}} // #nosec G204 -- a constant; tests alone have another one
	p.cmd.Args = []string{calledAs, w.name}
	// An answer leaves nothing but garbage: this much keeps that at the size of one more answer under way, and costs no time.
	p.cmd.Env = []string{"GOGC=10"}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make the input of a worker: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		_ = p.in.Close()
		return nil, fmt.Errorf("make the output of a worker: %w", err)
	}
	if err := startLow(p.cmd); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	p.idle = time.AfterFunc(w.idle, func() { w.retire(p) })
	go w.follow(p, out)
	return p, nil
}

// ask returns the answer to a request, and false when the process has ended instead.
func (p *process) ask(request []byte) (answer, bool) {
	late := time.AfterFunc(patience, p.kill)
	defer late.Stop()
	c := make(chan answer, 1)
	if p.send(request, c) {
		if a, ok := <-c; ok {
			p.idle.Reset(p.after)
			return a, true
		}
	}
	<-p.ended
	return answer{}, false
}

func (p *process) send(request []byte, c chan answer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == nil {
		return false
	}
	p.last++
	if err := writeFrame(p.in, p.last, request); err != nil {
		p.kill() // a frame that is cut off can be followed by nothing
		return false
	}
	p.pending[p.last] = c
	return true
}

// follow hands out the answers until the process ends, and cleans up after it.
func (w *Worker) follow(p *process, out io.Reader) {
	var err error
	for err == nil {
		var id uint32
		var payload []byte
		if id, payload, err = readFrame(out); err == nil {
			var a answer
			if a, err = parseAnswer(payload); err == nil {
				p.give(id, a)
			}
		}
	}
	if errors.Is(err, io.EOF) {
		defer time.AfterFunc(endWithin, p.kill).Stop() // it is ending, and how it does tells why
	} else {
		p.kill()
	}
	if exit := p.cmd.Wait(); exit != nil {
		err = exit
	}
	p.idle.Stop()
	p.mu.Lock()
	pending, answered := p.pending, p.answered
	p.pending = nil
	p.mu.Unlock()
	w.gone(p, err, answered)
	for _, c := range pending {
		close(c)
	}
	close(p.ended)
}

func (p *process) give(id uint32, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.pending[id]; ok {
		c <- a
		delete(p.pending, id)
	}
	p.answered = true
}

// retire ends a process that has nothing to do.
func (w *Worker) retire(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process == p && p.free() {
		w.process = nil
		p.end()
	}
}

func (p *process) free() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending) == 0
}

// end closes the input, after which a process ends at once, whatever it is about.
func (p *process) end() {
	time.AfterFunc(endWithin, p.kill) // does nothing to one that has ended
	_ = p.in.Close()
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }
