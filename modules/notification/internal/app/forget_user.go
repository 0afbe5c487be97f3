package app

import "context"

// ForgetUser erases all that is kept of a user who has deleted their account: inbox, preferences, address, and mails, sent ones that
// this machine keeps among them. News of them that arrives later has no effect.
func (a *App) ForgetUser(ctx context.Context, userID string) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		emails, err := a.Store.EraseUser(ctx, userID, a.now())
		if err != nil {
			return err
		}
		if err := a.Forget(ctx, userID); err != nil {
			return err
		}
		for _, email := range emails {
			if err := a.Post.Forget(email); err != nil {
				return err
			}
		}
		return nil
	})
}
