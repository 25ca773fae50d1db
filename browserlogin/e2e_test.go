package browserlogin

import (
	"testing"

	"github.com/latchpost/latchpost/auth/authtest"
)

// The whole way: two real Chromiums, one the server's, one the person's. The
// password is typed and the code pasted through the picture.
func TestSignInByPassword(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	p := b.open(s)
	p.shot("01-starting")
	p.await("waiting")
	p.shot("02-waiting")
	p.click("[name=user]")
	p.write("alice")
	p.press("Tab")
	p.write(b.site.Secrets()[1])
	eventually(t, "the name typed through the picture", func() bool { return p.value("[name=user]") == "alice" })
	p.shot("03-typed")
	p.click("select")
	p.must(p.page.Locator("#menu button").First().WaitFor())
	p.shot("04-menu")
	p.must(p.page.Locator("#menu button").Last().Click())
	p.click("form button")
	p.seen("[name=d1]")
	p.shot("05-second-factor")
	p.click("[name=d1]")
	p.paste(authtest.SecondFactor)
	eventually(t, "the code in six boxes", func() bool { return p.value("[name=d6]") == "0" })
	p.press("Enter")
	p.await("connected")
	p.shot("06-connected")
	r := over(t, done)
	if r.err != nil {
		t.Fatal(r.err)
	}
	if r.got.Account != "alice" {
		t.Errorf("account %q", r.got.Account)
	}
}
