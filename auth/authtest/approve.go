package authtest

import (
	"context"
	"errors"
	"fmt"
)

// Approve signs in as the user at an authorization URL, allows everything and
// gives the URL of the callback, which it does not open.
func (s *Server) Approve(ctx context.Context, authorizeURL, user string) (string, error) {
	browser, err := s.Browser(user)
	if err != nil {
		return "", err
	}
	return browser.callback(ctx, authorizeURL)
}

// Deny presses Cancel at an authorization URL and gives the URL of the callback.
func (s *Server) Deny(ctx context.Context, authorizeURL string) (string, error) {
	return (&Browser{Press: "deny"}).callback(ctx, authorizeURL)
}

// ApproveDevice enters a user code as the user.
func (s *Server) ApproveDevice(ctx context.Context, userCode, user string) error {
	browser, err := s.Browser(user)
	if err != nil {
		return err
	}
	return browser.enter(ctx, s.URL+"/device", userCode)
}

// DenyDevice enters a user code and presses Cancel.
func (s *Server) DenyDevice(ctx context.Context, userCode string) error {
	return (&Browser{Press: "deny"}).enter(ctx, s.URL+"/device", userCode)
}

// Browser is one that knows the user's name and password.
func (s *Server) Browser(user string) (*Browser, error) {
	u, known := s.current().user(user)
	if !known {
		return nil, fmt.Errorf("authtest: there is no user %q", user)
	}
	return &Browser{Fill: map[string]string{"user": u.Name, "password": u.Password}}, nil
}

func (b *Browser) callback(ctx context.Context, authorizeURL string) (string, error) {
	visit, err := b.Walk(ctx, authorizeURL)
	if err == nil && visit.Left == "" {
		err = errors.New("authtest: the sign-in ended on a page: " + visit.Page)
	}
	return visit.Left, err
}

func (b *Browser) enter(ctx context.Context, page, userCode string) error {
	if b.Fill == nil {
		b.Fill = make(map[string]string)
	}
	b.Fill["user_code"] = userCode
	_, err := b.Walk(ctx, page)
	return err
}
