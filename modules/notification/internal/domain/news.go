package domain

import "time"

// News is something to tell a user.
type News struct {
	Kind     Kind
	UserID   string
	OrderID  string // "" when it is about no order
	Number   string // what people call the order
	Reason   string // why an order was rejected, as a code, or cancelled, as a code or in somebody's words
	Tracking string // the carrier's code; "" when there is none
	Code     string // what the user gives back to show that they read the mail; "" when there is none
	Address  string // that the mail goes to instead of the user's own; "" for that one
	// CodeExpires is when the code ends; a mail with an older one does not leave.
	CodeExpires time.Time
}

// Clean returns n with texts that are safe in a header, on a page and in a
// response: valid UTF-8, no control characters, bounded. Only a reason keeps
// its line breaks.
func (n News) Clean() News {
	n.Number, n.Reason, n.Tracking = Line(n.Number), Text(n.Reason), Line(n.Tracking)
	return n
}

// Notification is news in a user's inbox.
type Notification struct {
	ID        string
	UserID    string
	Seq       int64 // counts a user's notifications from 1 without gaps, in the order in which they appear
	Kind      Kind
	Title     string
	Body      string
	OrderID   string    // "" when it is about no order
	ReadAt    time.Time // zero while unread
	CreatedAt time.Time
}

// Contact is where and how to address a user.
type Contact struct {
	UserID      string
	Email       string
	DisplayName string
	Version     int64 // of the user; a smaller one is older news
}

// Mail is a mail that is ready to leave.
type Mail struct {
	ID        string // the same in each attempt; makes the Message-ID
	Kind      Kind
	To        Contact
	Subject   string
	Text      string
	HTML      string
	CreatedAt time.Time
}
