package vendorapi

// The types below are the spec language: one struct for each mapping, one
// yaml tag for each field. docs/vendor-spec.md explains them and
// vendors/schema.json repeats them for editors; a test holds them together.

type document struct {
	At        place
	Name      text               `yaml:"name"`
	About     text               `yaml:"about"`
	BaseURL   text               `yaml:"base_url"`
	Zone      text               `yaml:"zone"`
	Settings  dict[settingField] `yaml:"settings"`
	Auth      *authField         `yaml:"auth"`
	TLS       *tlsField          `yaml:"tls"`
	Origins   []text             `yaml:"origins"`
	Headers   dict[text]         `yaml:"headers"`
	Limits    *limitsField       `yaml:"limits"`
	Throttled *throttledField    `yaml:"throttled"`
	Answers   []ruleField        `yaml:"answers"`
	Says      text               `yaml:"says"`
	Proof     text               `yaml:"proof"`
	Timeouts  timeoutsField      `yaml:"timeouts"`
	Bounds    boundsField        `yaml:"bounds"`
	Drift     *driftField        `yaml:"drift"`
	Budget    *budgetField       `yaml:"budget"`
	Defaults  defaultsField      `yaml:"defaults"`
	Lake      *lakeField         `yaml:"lake"`
	Tiers     []tierField        `yaml:"tiers"`
}

type settingField struct {
	At       place
	About    text `yaml:"about"`
	Required flag `yaml:"required"`
	Default  text `yaml:"default"`
}

type authField struct {
	At     place
	By     text         `yaml:"by"`
	Bearer text         `yaml:"bearer"`
	Basic  *basicField  `yaml:"basic"`
	APIKey *apiKeyField `yaml:"api_key"`
	LMv1   *lmv1Field   `yaml:"lmv1"`
	OAuth2 *oauth2Field `yaml:"oauth2"`
	Login  *loginField  `yaml:"login"`
}

type apiKeyField struct {
	At     place
	Value  text `yaml:"value"`
	Header text `yaml:"header"`
	Query  text `yaml:"query"`
	Cookie text `yaml:"cookie"`
	Body   text `yaml:"body"`
}

type lmv1Field struct {
	At        place
	AccessID  text `yaml:"access_id"`
	AccessKey text `yaml:"access_key"`
}

type oauth2Field struct {
	At           place
	TokenURL     text       `yaml:"token_url"`
	ClientID     text       `yaml:"client_id"`
	ClientSecret text       `yaml:"client_secret"`
	RefreshToken text       `yaml:"refresh_token"`
	Scopes       texts      `yaml:"scopes"`
	Params       dict[text] `yaml:"params"`
	Style        text       `yaml:"style"`
}

type loginField struct {
	At      place
	Get     text         `yaml:"get"`
	Post    text         `yaml:"post"`
	Form    dict[text]   `yaml:"form"`
	JSON    *jsonField   `yaml:"json"`
	Headers dict[text]   `yaml:"headers"`
	Token   text         `yaml:"token"`
	Cookies flag         `yaml:"cookies"`
	Lasts   duration     `yaml:"lasts"`
	Expires text         `yaml:"expires"`
	Send    *apiKeyField `yaml:"send"`
}

type tlsField struct {
	At         place
	CA         text `yaml:"ca"`
	Cert       text `yaml:"cert"`
	Key        text `yaml:"key"`
	ServerName text `yaml:"server_name"`
}

type ruleField struct {
	At     place
	Status statuses   `yaml:"status"`
	Header dict[text] `yaml:"header"`
	When   text       `yaml:"when"`
	Means  text       `yaml:"means"`
	Says   text       `yaml:"says"`
}

type basicField struct {
	At       place
	User     text `yaml:"user"`
	Password text `yaml:"password"`
}

type limitField struct {
	At       place
	Name     text     `yaml:"name"`
	Bucket   rate     `yaml:"bucket"`
	Burst    count    `yaml:"burst"`
	Window   rate     `yaml:"window"`
	Spacing  duration `yaml:"spacing"`
	InFlight count    `yaml:"in_flight"`
	Jitter   duration `yaml:"jitter"`
	Recover  duration `yaml:"recover"`
	Header   text     `yaml:"header"`

	Calendar   calendarRate      `yaml:"calendar"`
	Zone       text              `yaml:"zone"`
	Tiers      []text            `yaml:"tiers"`
	Method     text              `yaml:"method"`
	Path       text              `yaml:"path"`
	Each       text              `yaml:"per"`
	Weight     dict[count]       `yaml:"weight"`
	WeightFrom *weightFromField  `yaml:"weight_from"`
	AtMost     count             `yaml:"at_most"`
	Headers    *saidHeadersField `yaml:"headers"`
}

type weightFromField struct {
	At     place
	Header text `yaml:"header"`
	JQ     text `yaml:"jq"`
}

type throttledField struct {
	At     place
	Status []count `yaml:"status"`
}

type timeoutsField struct {
	Connect   duration `yaml:"connect"`
	FirstByte duration `yaml:"first_byte"`
	Idle      duration `yaml:"idle"`
	Total     duration `yaml:"total"`
}

type boundsField struct {
	Bytes     size  `yaml:"bytes"`
	Pages     count `yaml:"pages"`
	Children  count `yaml:"children"`
	Excerpt   size  `yaml:"excerpt"`
	Depth     count `yaml:"depth"`
	Headers   size  `yaml:"headers"`
	Redirects count `yaml:"redirects"`
}

type driftField struct {
	At      place
	Percent count `yaml:"percent"`
	Then    text  `yaml:"then"`
}

type budgetField struct {
	At    place
	Calls count `yaml:"calls"`
	Until text  `yaml:"until"`
}

type lakeField struct {
	At     place
	Dead   allowance            `yaml:"dead"`
	Path   text                 `yaml:"path"`
	Tables dict[lakeTableField] `yaml:"tables"`
}

type lakeTableField struct {
	At       place
	Contract text    `yaml:"contract"`
	Columns  columns `yaml:"columns"`
	From     text    `yaml:"from"`
	Row      text    `yaml:"row"`
	Key      texts   `yaml:"key"`
	Common   flag    `yaml:"common"`
}

type defaultsField struct {
	Pages *pagesField `yaml:"pages"`
	Items text        `yaml:"items"`
}

type tierField struct {
	At       place
	Name     text        `yaml:"name"`
	About    text        `yaml:"about"`
	Get      text        `yaml:"get"`
	Post     text        `yaml:"post"`
	Query    dict[texts] `yaml:"query"`
	JSON     *jsonField  `yaml:"json"`
	Form     dict[texts] `yaml:"form"`
	Headers  dict[text]  `yaml:"headers"`
	For      *forField   `yaml:"for"`
	Batch    *batchField `yaml:"batch"`
	Branches []tierField `yaml:"branches"`
	With     dict[text]  `yaml:"with"`
	Pages    *pagesField `yaml:"pages"`
	MaxPages count       `yaml:"max_pages"`
	Items    text        `yaml:"items"`
	Optional flag        `yaml:"optional"`
	Key      keyField    `yaml:"key"`
	Unique   flag        `yaml:"unique"`
	Carry    dict[text]  `yaml:"carry"`
	Rows     text        `yaml:"rows"`
	Table    text        `yaml:"table"`
	Tables   dict[text]  `yaml:"tables"`
}

type pagesKinds struct {
	At        place
	Offset    *offsetField  `yaml:"offset"`
	Page      *pageField    `yaml:"page"`
	Cursor    *cursorField  `yaml:"cursor"`
	NextQuery text          `yaml:"next_query"`
	NextURL   text          `yaml:"next_url"`
	Link      flag          `yaml:"link"`
	Slices    *slicesField  `yaml:"slices"`
	Expired   *expiredField `yaml:"expired"`
}

type offsetField struct {
	At        place
	Param     text  `yaml:"param"`
	SizeParam text  `yaml:"size_param"`
	Size      count `yaml:"size"`
	In        text  `yaml:"in"`
	Total     text  `yaml:"total"`
	More      text  `yaml:"more"`
	ShortEnds flag  `yaml:"short_ends"`
}

type pageField struct {
	At        place
	Param     text    `yaml:"param"`
	First     ordinal `yaml:"first"`
	SizeParam text    `yaml:"size_param"`
	Size      count   `yaml:"size"`
	In        text    `yaml:"in"`
	Pages     text    `yaml:"pages"`
	Total     text    `yaml:"total"`
	More      text    `yaml:"more"`
	ShortEnds flag    `yaml:"short_ends"`
}

type cursorField struct {
	At    place
	From  text `yaml:"from"`
	Param text `yaml:"param"`
	In    text `yaml:"in"`
}

type expiredField struct {
	At     place
	Status []count `yaml:"status"`
	When   text    `yaml:"when"`
}

type slicesField struct {
	At         place
	Step       duration `yaml:"step"`
	Resolution duration `yaml:"resolution"`
}
