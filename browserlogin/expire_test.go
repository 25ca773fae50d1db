package browserlogin

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// LV-005: ten minutes in all, two without a sign of the person, and a warning before.
func TestExpire(t *testing.T) {
	const total, idle = 10 * time.Minute, 2 * time.Minute
	run := func(t *testing.T, starts time.Duration, signs func(active chan<- struct{}, stop <-chan struct{})) (lasted time.Duration, warnings []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			active, stop, ready := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
			time.AfterFunc(starts, func() { close(ready) })
			go signs(active, stop)
			start := time.Now()
			err := expire(t.Context(), total, idle, ready, active, func(left time.Duration) { warnings = append(warnings, left) })
			if lasted = time.Since(start); !errors.Is(err, ErrTimeout) {
				t.Errorf("ended with %v", err)
			}
			close(stop)
		})
		return lasted, warnings
	}
	t.Run("idle", func(t *testing.T) {
		lasted, warnings := run(t, 0, func(chan<- struct{}, <-chan struct{}) {})
		if lasted != idle || len(warnings) != 1 || warnings[0] != 30*time.Second {
			t.Errorf("ended after %v, warned %v", lasted, warnings)
		}
	})
	t.Run("slow browser", func(t *testing.T) {
		lasted, warnings := run(t, 5*time.Minute, func(active chan<- struct{}, stop <-chan struct{}) { active <- struct{}{} })
		if lasted != 5*time.Minute+idle || len(warnings) != 1 {
			t.Errorf("ended after %v, warned %v", lasted, warnings)
		}
	})
	t.Run("no browser", func(t *testing.T) {
		if lasted, _ := run(t, time.Hour, func(chan<- struct{}, <-chan struct{}) {}); lasted != total {
			t.Errorf("ended after %v", lasted)
		}
	})
	t.Run("busy", func(t *testing.T) {
		lasted, _ := run(t, 0, func(active chan<- struct{}, stop <-chan struct{}) {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Minute):
					active <- struct{}{}
				}
			}
		})
		if lasted != total {
			t.Errorf("ended after %v", lasted)
		}
	})
	t.Run("back after the warning", func(t *testing.T) {
		lasted, warnings := run(t, 0, func(active chan<- struct{}, stop <-chan struct{}) {
			time.Sleep(idle - 10*time.Second)
			active <- struct{}{}
			<-stop
		})
		if lasted != idle-10*time.Second+idle || len(warnings) != 3 || warnings[1] != 0 {
			t.Errorf("ended after %v, warned %v", lasted, warnings)
		}
	})
}

func TestExpireEndsWithTheLogin(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrCancelled)
	if err := expire(ctx, time.Hour, time.Hour, nil, nil, nil); !errors.Is(err, ErrCancelled) {
		t.Error(err)
	}
}
