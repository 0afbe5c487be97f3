package security_test

import "github.com/google/uuid"

// fixtures are the requests, by operation id. An operation without one fails the test.
func (s *scene) fixtures() map[string]fixture {
	const unknown = "never"
	owner, nobody := s.people["owner"], uuid.NewString()
	user := map[string]string{"user_id": owner.id}
	victim := map[string]string{"user_id": s.people["disabled"].id}
	order, cancelled := map[string]string{"order_id": s.order}, map[string]string{"order_id": s.cancelled}
	product, in := map[string]string{"product_id": s.product}, map[string]string{"module": "order"}
	letter := map[string]string{"module": "order", "subscriber": unknown, "event_id": unknown}
	saga := map[string]string{"module": "order", "saga": unknown, "saga_id": unknown}
	changed := []int{200, 409}
	versioned := []int{200, 412}
	token := "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	return map[string]fixture{
		"getProfile":               {},
		"updateProfile":            {body: object{"display_name": "Ada"}, ok: versioned},
		"changePassword":           {body: object{"current_password": password, "new_password": "a better horse battery"}, spare: true},
		"getSessions":              {},
		"endSessions":              {body: object{"session_id": s.session, "password": password}, other: 404, others: true},
		"logIn":                    {body: object{"email": owner.email, "password": password}},
		"logOut":                   {spare: true},
		"refreshSession":           {body: object{"refresh_token": token}, ok: []int{401}},
		"registerUser":             {body: object{"email": s.email(), "password": password, "display_name": "Eve"}, ok: []int{201, 202, 409}},
		"createFirstAdmin":         {body: object{"token": token, "email": s.email(), "password": password, "display_name": "Eve"}, ok: []int{409}},
		"requestEmailVerification": {body: object{"email": s.email()}},
		"verifyEmail":              {body: object{"token": token}, ok: []int{400, 401, 404, 409, 410, 422}},
		"requestPasswordReset":     {body: object{"email": s.email()}},
		"resetPassword":            {body: object{"token": token, "new_password": "a better horse battery"}, ok: []int{400, 401, 404, 409, 410, 422}},
		"getAPIKeys":               {},
		"createAPIKey":             {body: object{"name": "Report", "scopes": []string{"order:read"}, "expires_in_days": 30, "password": password}, ok: []int{201, 409, 422}},
		"revokeAPIKey":             {params: map[string]string{"key_id": nobody}, ok: []int{404}},
		"exchangeAPIKey":           {body: object{"api_key": "cleave_pk_" + token}, ok: []int{401}},
		"recordExport":             {},
		"exportPersonalData":       {},
		"deleteAccount":            {body: object{"password": password}, spare: true},
		"enrolSecondFactor":        {body: object{"password": password}, spare: true},
		"confirmSecondFactor":      {body: object{"code": "123456"}, ok: []int{409}},
		"disableSecondFactor":      {body: object{"password": password, "code": "123456"}, ok: []int{409}},
		"logInSecondFactor":        {body: object{"challenge": token, "code": "123456"}, ok: []int{401}},
		"listClients":              {},
		"createClient":             {body: object{"name": "warehouse", "grants": []string{"client_credentials"}, "roles": []string{"service"}, "scopes": []string{"order"}}, ok: []int{201, 422}},
		"deleteClient":             {params: map[string]string{"client_id": nobody}, ok: []int{404}},
		"listUsers":                {},
		"getUser":                  {params: user},
		"getCredit":                {params: user},
		"listCreditEntries":        {params: user},
		"topUpCredit":              {params: user, body: object{"amount": object{"minor_units": 1, "currency": "EUR"}}},
		"disableUser":              {params: victim, ok: changed},
		"endUserSessions":          {params: victim},
		"setRoles":                 {params: victim, body: object{"roles": []string{"customer"}}, ok: versioned},
		"enableUser":               {params: map[string]string{"user_id": nobody}, ok: []int{404}},

		"listOrders":    {query: "?user_id=" + owner.id, other: 403},
		"placeOrder":    {body: s.lines(), ok: []int{201}},
		"getOrder":      {params: order, other: 404},
		"cancelOrder":   {params: cancelled, body: object{"reason": "changed my mind"}, other: 404, ok: changed},
		"shipOrder":     {params: order, body: object{"tracking_code": "T1"}, ok: changed},
		"deliverOrder":  {params: order, ok: changed},
		"listProducts":  {},
		"createProduct": {body: object{"sku": "DESK-" + nobody[:8], "name": "Desk", "price": object{"minor_units": 100, "currency": "EUR"}, "stock": 1}, ok: []int{201, 409}},
		"getProduct":    {params: product},
		"updateProduct": {params: product, body: object{"name": "Lamp"}, ok: versioned},
		"adjustStock":   {params: product, body: object{"delta": 1}},

		"getNotificationPreferences": {},
		"setNotificationPreferences": {body: object{"preferences": []object{}}, ok: []int{200, 412, 422}},
		"listNotifications":          {},
		"markAllNotificationsRead":   {},
		"streamNotifications":        {},
		"countUnreadNotifications":   {},
		"markNotificationRead":       {params: map[string]string{"notification_id": s.letter}, other: 404, others: true},

		"getTraffic":         {},
		"getProcess":         {},
		"setEdge":            {params: map[string]string{"caller": "order", "callee": "user"}, body: object{"target": "here"}, ok: versioned},
		"placeModule":        {params: map[string]string{"placed_module": "user"}, body: object{"runs": true, "requests": "here"}, ok: versioned},
		"compareModule":      {params: map[string]string{"placed_module": "user"}, query: "?with=127.0.0.1:1&seconds=1", ok: []int{422}},
		"getTopics":          {params: in},
		"getLag":             {params: in},
		"listDeadLetters":    {params: in},
		"retryDeadLetters":   {params: in, body: object{"all": true}},
		"discardDeadLetters": {params: in, body: object{"all": true}},
		"getDeadLetter":      {params: letter, ok: []int{404}},
		"retryDeadLetter":    {params: letter, ok: []int{404}},
		"discardDeadLetter":  {params: letter, ok: []int{404}},
		"listSagas":          {params: in},
		"retrySagas":         {params: in, body: object{"all": true}},
		"getSaga":            {params: saga, ok: []int{404}},
		"retrySaga":          {params: saga, ok: []int{404}},
		"compensateSaga":     {params: saga, ok: []int{404}},
		"listAuditEntries":   {params: in},
		"verifyAudit":        {params: in},
		"listPolicies":       {params: in},
		"explainPolicy":      {params: in, query: "?role=support&permission=order:read"},
		"addPolicy":          {params: in, body: object{"role": "guest", "permission": "order:list", "scope": "own", "effect": "allow"}, ok: []int{201, 409}},
		"removePolicy":       {params: map[string]string{"module": "order", "policy_id": s.rows}},
	}
}
