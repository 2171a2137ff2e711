package login

import (
	"errors"

	"github.com/sallyport-dev/sallyport"
)

// known returns what of an error may be shown. What has no words for people
// stays inside.
func known(err error) *sallyport.Error {
	var e *sallyport.Error
	if errors.As(err, &e) && e.Kind != sallyport.EInternal && statusOf[e.Kind] != 0 {
		return e
	}
	return &sallyport.Error{Kind: sallyport.EInternal, Code: "internal", Text: "something went wrong inside the gateway", Fix: "the gateway's log says what"}
}

// refuse makes an error that says what would help.
func refuse(kind sallyport.ErrorKind, code, text, fix string) *sallyport.Error {
	return &sallyport.Error{Kind: kind, Code: code, Text: text, Fix: fix}
}
