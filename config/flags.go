package config

// Flags are the settings of the command line, to be embedded into kong's grammar. A nil field was not given. Values stay
// text until Load parses them, so that it reports all problems together. Kong must not read the environment (no env tag):
// Load does, to name the right place in an error. The variable of a flag is SITESYNC_ and its name in capitals, with _
// for -.
type Flags struct {
	Presets        *string  `group:"Studio" placeholder:"DIR" help:"Folder of config.json and gdrive.json, or of a sync_server folder with both; default $PYPE_CONFIG/presets. ($SITESYNC_PRESETS)"`
	RetryCnt       *string  `group:"Studio" placeholder:"N" help:"How often a failing file is tried; overrides retry_cnt of config.json, default 3. ($SITESYNC_RETRY_CNT)"`
	LoopDelay      *string  `group:"Studio" placeholder:"TIME" help:"Time between two fallback polls, seconds or e.g. 2m; overrides loop_delay of config.json, default 60. ($SITESYNC_LOOP_DELAY)"`
	ActiveSite     *string  `group:"Studio" placeholder:"SITE" help:"Site that files come from; overrides active_site of config.json, default studio. ($SITESYNC_ACTIVE_SITE)"`
	RemoteSite     *string  `group:"Studio" placeholder:"SITE" help:"Site of gdrive.json that files go to; overrides remote_site of config.json. If empty, nothing is synced. ($SITESYNC_REMOTE_SITE)"`
	LocalID        *string  `group:"Studio" name:"local-id" placeholder:"ID" help:"Name of this machine's own site: what 'local' stands for as active or remote site; overrides local_id of config.json. ($SITESYNC_LOCAL_ID)"`
	LocalRoot      []string `group:"Studio" sep:"none" placeholder:"[NAME=]PATH" help:"Where the studio's storage is mounted on this machine, instead of the root in the documents; overrides local_root of config.json. Repeat it with names for several roots. ($SITESYNC_LOCAL_ROOT, several separated by ;)"`
	LocalRootLinks []string `group:"Studio" name:"local-root-links" sep:"none" placeholder:"PATH" help:"Folder outside of the roots that symbolic links in the storage may lead to, such as a project on another mount; overrides local_root_links of config.json. Repeat it for several. ($SITESYNC_LOCAL_ROOT_LINKS, several separated by ;)"`

	Mongo     *string `group:"Database" placeholder:"URI" help:"MongoDB connection string. Prefer the environment, which ps does not show. ($SITESYNC_MONGO, $AVALON_MONGO)"`
	MongoFile *string `group:"Database" placeholder:"FILE" help:"File with the connection string, such as a secret of a container. ($SITESYNC_MONGO_FILE)"`
	DB        *string `group:"Database" name:"db" placeholder:"NAME" help:"Database of the projects, default avalon. ($SITESYNC_DB, $AVALON_DB)"`
	StateDB   *string `group:"Database" name:"state-db" placeholder:"NAME" help:"Sitesync's own database, default sitesync. ($SITESYNC_STATE_DB)"`
	NoIndex   *bool   `group:"Database" help:"Do not create the index of the pending query at start. ($SITESYNC_NO_INDEX)"`

	Transfers         *string `group:"Transfer" placeholder:"N" help:"Files uploaded at once, 1 to 256, default 8; one more for a small file that was just published. ($SITESYNC_TRANSFERS)"`
	SourceGracePeriod *string `group:"Transfer" name:"settle" placeholder:"TIME" help:"How long a source file may be missing or incomplete before that costs a try, default loop_delay. ($SITESYNC_SETTLE)"`
	RetryDelay        *string `group:"Transfer" placeholder:"TIME" help:"Wait before a failed file's second try; doubles with each try; default 10s. ($SITESYNC_RETRY_DELAY)"`
	MaxRetryDelay     *string `group:"Transfer" placeholder:"TIME" help:"Longest wait between two tries, default 1h. ($SITESYNC_MAX_RETRY_DELAY)"`
	NoStream          *bool   `group:"Transfer" help:"Do not use change streams, only the poll. For tests and debugging. ($SITESYNC_NO_STREAM)"`
	NoPoll            *bool   `group:"Transfer" help:"Do not poll, only use change streams. For tests and debugging. ($SITESYNC_NO_POLL)"`
	RecordProgress    *bool   `group:"Transfer" help:"Write the progress of large files into their records, every 5 s, as OpenPype does. ($SITESYNC_RECORD_PROGRESS)"`
	ShutdownTimeout   *string `group:"Transfer" placeholder:"TIME" help:"How long running uploads may continue after a signal to stop, default 10s. ($SITESYNC_SHUTDOWN_TIMEOUT)"`

	Listen       *string `group:"Output" placeholder:"HOST:PORT" help:"Address of the page, health and metrics, default 127.0.0.1:9105; off: none. ($SITESYNC_LISTEN)"`
	WebTokenFile *string `group:"Output" name:"web-token-file" placeholder:"FILE" help:"File with a secret of 16 characters or more that allows retry, pause and resume from the page. Without one the page is read-only. ($SITESYNC_WEB_TOKEN_FILE, or $SITESYNC_WEB_TOKEN for the secret itself)"`
	Pprof        *bool   `group:"Output" help:"Serve profiles for go tool pprof there too, under /debug/pprof/. ($SITESYNC_PPROF)"`
	LogFormat    *string `group:"Output" placeholder:"FORMAT" help:"auto, console or json; auto (the default) is console on a terminal, json otherwise. ($SITESYNC_LOG_FORMAT)"`
	LogLevel     *string `group:"Output" placeholder:"LEVEL" help:"debug, info, warn or error, default info. ($SITESYNC_LOG_LEVEL)"`
}
