package api

import (
	"context"

	"cleave/modules/notification/internal/domain"
	"cleave/platform/rest"
)

// GetNotificationPreferences answers with the caller's preferences.
func (s server) GetNotificationPreferences(ctx context.Context, _ GetNotificationPreferencesRequestObject) (GetNotificationPreferencesResponseObject, error) {
	user, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.app.Preferences(ctx, user)
	return GetNotificationPreferences200JSONResponse{
		Body: wirePreferences(p), Headers: GetNotificationPreferences200ResponseHeaders{ETag: rest.ETag(p.Version)},
	}, err
}

// SetNotificationPreferences replaces the caller's preferences.
func (s server) SetNotificationPreferences(ctx context.Context, r SetNotificationPreferencesRequestObject) (SetNotificationPreferencesResponseObject, error) {
	user, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	version, err := rest.ParseIfMatch(r.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	list := make([]domain.Preference, len(r.Body.Preferences))
	for i, p := range r.Body.Preferences {
		list[i] = domain.Preference{Route: domain.Route{Kind: domain.Kind(p.Kind), Channel: domain.Channel(p.Channel)}, Enabled: p.Enabled}
	}
	p, err := s.app.SetPreferences(ctx, user, version, list)
	if err != nil {
		return nil, err
	}
	return SetNotificationPreferences200JSONResponse{
		Body: wirePreferences(p), Headers: SetNotificationPreferences200ResponseHeaders{ETag: rest.ETag(p.Version)},
	}, nil
}

func wirePreferences(p domain.Preferences) NotificationPreferences {
	w := NotificationPreferences{Version: p.Version}
	for _, wish := range p.List() {
		w.Preferences = append(w.Preferences, NotificationPreference{
			Kind: NotificationKind(wish.Kind), Channel: NotificationChannel(wish.Channel), Enabled: wish.Enabled,
		})
	}
	return w
}
