package browserlogin

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"sync"
)

//go:embed agent.js
var agentScript string

// agent is our script in the frames of one page, each in an isolated world. It
// is put there through Runtime alone: the domain Page must stay off (see CDP).
type agent struct {
	async func(func())                      // starts a goroutine that somebody waits for
	heard func(where world, payload string) // what a script says; must not block

	mu     sync.Mutex
	worlds map[world]bool
	joined map[Frame]CDP // frames with a process of their own
}

// world names one JavaScript execution context.
type world struct {
	cdp CDP
	id  float64
}

const worldName = "latchpost"

func newAgent(async func(func()), heard func(world, string)) *agent {
	return &agent{async: async, heard: heard, worlds: map[world]bool{}, joined: map[Frame]CDP{}}
}

// join puts the script into every frame that cdp reaches, now and after each navigation.
func (a *agent) join(cdp CDP) {
	cdp.On("Runtime.executionContextCreated", func(p map[string]any) {
		c, _ := p["context"].(map[string]any)
		aux, _ := c["auxData"].(map[string]any)
		frame, _ := aux["frameId"].(string)
		if main, _ := aux["isDefault"].(bool); main && frame != "" {
			a.async(func() { a.inject(cdp, frame) })
		}
	})
	cdp.On("Runtime.executionContextDestroyed", func(p map[string]any) {
		id, _ := p["executionContextId"].(float64)
		a.mu.Lock()
		delete(a.worlds, world{cdp, id})
		a.mu.Unlock()
	})
	cdp.On("Runtime.executionContextsCleared", func(map[string]any) {
		a.mu.Lock()
		for w := range a.worlds {
			if w.cdp == cdp {
				delete(a.worlds, w)
			}
		}
		a.mu.Unlock()
	})
	cdp.On("Runtime.bindingCalled", func(p map[string]any) {
		id, _ := p["executionContextId"].(float64)
		payload, _ := p["payload"].(string)
		if p["name"] == "latchpostSay" {
			a.heard(world{cdp, id}, payload)
		}
	})
	_, _ = cdp.Send("Runtime.addBinding", map[string]any{"name": "latchpostSay", "executionContextName": worldName})
	_, _ = cdp.Send("Runtime.enable", nil)
}

func (a *agent) inject(cdp CDP, frame string) {
	made, err := cdp.Send("Page.createIsolatedWorld", map[string]any{"frameId": frame, "worldName": worldName})
	if err != nil {
		return // the frame has gone on already
	}
	id, _ := made["executionContextId"].(float64)
	if _, err := cdp.Send("Runtime.evaluate", map[string]any{"expression": agentScript, "contextId": id}); err != nil {
		return
	}
	a.mu.Lock()
	a.worlds[world{cdp, id}] = true
	a.mu.Unlock()
}

// joinFrame puts the script into a frame that moved into a process of its own.
func (a *agent) joinFrame(p *Page, f Frame) {
	cdp, err := p.FrameCDP(f)
	if err != nil {
		return // it shares the page's process, and the page's session reaches it
	}
	a.mu.Lock()
	old := a.joined[f]
	a.mu.Unlock()
	if old != nil {
		if _, err := old.Send("Runtime.evaluate", map[string]any{"expression": "0"}); err == nil {
			_ = cdp.Close() // still the same process
			return
		}
	}
	a.mu.Lock()
	a.joined[f] = cdp
	a.mu.Unlock()
	a.join(cdp)
}

// call runs a function of the script in one frame; the answer is one of its few words.
func (a *agent) call(w world, function string, args ...any) (string, error) {
	expression := "__latchpost." + function + "("
	for i, arg := range args {
		if i > 0 {
			expression += ","
		}
		text, err := json.Marshal(arg)
		if err != nil {
			return "", err
		}
		expression += string(text)
	}
	r, err := w.cdp.Send("Runtime.evaluate", map[string]any{"expression": expression + ")", "contextId": w.id, "returnByValue": true})
	if err != nil {
		return "", err
	}
	result, _ := r["result"].(map[string]any)
	s, ok := result["value"].(string)
	if !ok {
		return "", errors.New("the frame has gone")
	}
	return s, nil
}

// everywhere asks all frames at once and gives the first answer that is something else than skip; skip when none is. "" when
// a frame did not answer in time, and may still do what it was told.
func (a *agent) everywhere(function string, skip string, args ...any) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a.mu.Lock()
	said := make(chan string, len(a.worlds))
	for w := range a.worlds {
		go func() {
			s, err := a.call(w, function, args...)
			if err != nil {
				s = skip
			}
			said <- s
		}()
	}
	a.mu.Unlock()
	for range cap(said) {
		select {
		case s := <-said:
			if s != skip {
				return s
			}
		case <-ctx.Done():
			return ""
		}
	}
	return skip
}
