package auth

import "crypto/rand"

// Drain waits for the renewals and the sign-ins that are under way, and for the renewals that end a sign-in: those who asked
// may have gone, and a process that ended now would lose the answers.
func (v *Vault) Drain() {
	for {
		v.flights.mu.Lock()
		var left *flight
		for _, left = range v.flights.m {
			break
		}
		v.flights.mu.Unlock()
		if left == nil {
			return
		}
		<-left.done
	}
}

// lasting has Drain wait until done is called.
func (v *Vault) lasting() (done func()) {
	name := rand.Text()
	v.flights.mu.Lock()
	f := v.flights.begin(name)
	v.flights.mu.Unlock()
	return func() { v.flights.end(name, f) }
}
