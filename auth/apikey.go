package auth

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// APIKey takes a key that a person pastes into our page, and tries it before it is stored.
type APIKey struct {
	Out *egress.Client
	// Loopback lets a provider be http on 127.0.0.1 (--unsafe-loopback).
	Loopback bool
}

// Method is MethodAPIKey.
func (APIKey) Method() string { return MethodAPIKey }

// Begin leads to the key form.
func (APIKey) Begin(_ context.Context, f *Flow) (Step, error) {
	if f.Provider.APIKey == nil {
		return Step{}, ErrConfig.Say("%s takes no API keys; use another method", f.Provider.Name)
	}
	return Step{Page: "/secret/" + f.Request.ID}, nil
}

// Finish checks the fields of the form against the definition and the key against
// the provider. ErrInvalid and ErrRefused: the person may correct it and post the form again.
func (k APIKey) Finish(ctx context.Context, f *Flow, in Input) (*Outcome, error) {
	if f.Provider.APIKey == nil {
		return nil, ErrConfig.Say("%s takes no API keys; use another method", f.Provider.Name)
	}
	form := f.Provider.APIKey.Form()
	cred, known := &Credential{Fields: map[string]Secret{}}, *f
	known.Vars = cloneVars(f.Vars)
	for _, field := range form {
		value := strings.TrimSpace(in.Fields[field.Name].Reveal())
		if err := checkField(field, value); err != nil {
			return nil, err
		}
		if field.Public { // a user name must not be redacted wherever it turns up
			known.Vars[field.Name] = value
		} else {
			cred.Fields[field.Name] = NewSecret(value)
		}
	}
	for name := range in.Fields {
		if !slices.ContainsFunc(form, func(field providers.Field) bool { return field.Name == name }) {
			return nil, ErrInvalid.Say("the form has a field that does not belong to %s; reload the page", f.Provider.Name)
		}
	}
	account, err := k.verify(ctx, &known, cred)
	if err != nil {
		return nil, err
	}
	return &Outcome{Credential: cred, Vars: known.Vars, Account: account, AccountID: keyHolder(form, known.Vars, account)}, nil
}

// keyHolder is whose key it is, as far as one is told: by the fields that are no secret and the name that the provider gives.
func keyHolder(form []providers.Field, vars map[string]string, account string) string {
	var names []string
	for _, field := range form {
		if field.Public {
			names = append(names, vars[field.Name])
		}
	}
	if account != "" {
		names = append(names, account)
	}
	return named(strings.Join(names, " "))
}

// Probe asks the provider whether the key still works. Without a call that tells, it does.
// A host that the definition added since the key was pasted is not asked: the key is not for it.
func (k APIKey) Probe(ctx context.Context, f *Flow, cred *Credential) (rolled *Credential, err error) {
	v := f.Provider.APIKey.Verify
	if v == nil {
		return nil, nil
	}
	target, err := targetOf(f.Provider, v.URL, credentialValues(f, cred), k.Loopback)
	if err != nil {
		return nil, err
	}
	if f.Connection != nil && !target.MatchHost(f.Connection.Hosts) {
		return nil, ErrConfig.Say("the definition of %s tries keys at %s now, which this key was not entered for", f.Provider.Name, target.Host)
	}
	_, err = k.verify(ctx, f, cred)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == ErrRefused.Code {
		return nil, ErrReauth.Because(e)
	}
	return nil, err
}

// checkField never repeats the value: a typing error in a key is nearly a key.
func checkField(field providers.Field, value string) error {
	switch {
	case value == "":
		return ErrInvalid.Say("%s is missing; fill it in", field.Ask)
	case len(value) > maxToken:
		return ErrInvalid.Say("%s is too long; check what you pasted", field.Ask)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
		return ErrInvalid.Say("%s has a character that no key has; check what you pasted", field.Ask)
	case field.Pattern != "":
		if ok, err := regexp.MatchString(field.Pattern, value); err != nil || !ok {
			return ErrInvalid.Say("%s does not look right; check what you pasted", field.Ask)
		}
	}
	return nil
}

// verify makes the definition's test call and gives the account's label.
func (k APIKey) verify(ctx context.Context, f *Flow, cred *Credential) (string, error) {
	v := f.Provider.APIKey.Verify
	if v == nil {
		return "", nil
	}
	doc, err := ask(ctx, k.Out, k.Loopback, f, cred, lookup{method: orDefault(v.Method, http.MethodGet), url: v.URL, body: v.Body})
	if err != nil {
		return "", err
	}
	if v.OK != "" && !doc.holds(v.OK) {
		return "", ErrRefused.Say("%s does not accept this key; check it and try again", f.Provider.Name)
	}
	return label(doc.text(v.Label...), cred.Secrets()), nil
}
