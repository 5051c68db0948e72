BEGIN TRANSACTION;
CREATE TABLE alerts (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        run_id TEXT NOT NULL,
                        timestamp TEXT NOT NULL,
                        run_name TEXT NOT NULL,
                        title TEXT NOT NULL,
                        text TEXT,
                        level TEXT NOT NULL DEFAULT 'warn',
                        step INTEGER,
                        alert_id TEXT
                    );
CREATE TABLE artifact_aliases (
                        artifact_id INTEGER NOT NULL REFERENCES artifacts(id),
                        alias TEXT NOT NULL,
                        artifact_version_id INTEGER NOT NULL REFERENCES artifact_versions(id),
                        PRIMARY KEY (artifact_id, alias)
                    );
CREATE TABLE artifact_versions (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        artifact_id INTEGER NOT NULL REFERENCES artifacts(id),
                        version INTEGER NOT NULL,
                        manifest_digest TEXT NOT NULL,
                        manifest TEXT NOT NULL,
                        metadata TEXT,
                        size_bytes INTEGER NOT NULL,
                        producer_run_id TEXT,
                        producer_run_name TEXT,
                        created_at TEXT NOT NULL,
                        UNIQUE(artifact_id, version),
                        UNIQUE(artifact_id, manifest_digest)
                    );
CREATE TABLE artifacts (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        name TEXT NOT NULL UNIQUE,
                        type TEXT NOT NULL,
                        description TEXT,
                        created_at TEXT NOT NULL
                    );
CREATE TABLE configs (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        run_id TEXT NOT NULL,
                        run_name TEXT NOT NULL,
                        config TEXT NOT NULL,
                        created_at TEXT NOT NULL,
                        UNIQUE(run_id)
                    );
INSERT INTO "configs" VALUES(1,'dabd0c1fb367423aaf99ca22c92a8da1','first',X'7B226C72223A302E312C226E6574223A7B226465707468223A337D2C225F557365726E616D65223A6E756C6C2C225F43726561746564223A22323032362D31312D32325430333A34323A32372E3833333939362B30303A3030222C225F47726F7570223A6E756C6C7D','2026-11-22T03:42:27.902244+00:00');
INSERT INTO "configs" VALUES(2,'e79d3f14f79f48d1b12a4db0e91730f4','second',X'7B226C72223A302E30312C226E6574223A7B226465707468223A337D2C225F557365726E616D65223A6E756C6C2C225F43726561746564223A22323032362D31312D32325430333A34323A32372E3936393439332B30303A3030222C225F47726F7570223A6E756C6C7D','2026-11-22T03:42:28.006221+00:00');
INSERT INTO "configs" VALUES(3,'9bdb829f88a4453cafe87e5cb96d3fca','second',X'7B226C72223A302E352C225F557365726E616D65223A6E756C6C2C225F43726561746564223A22323032362D31312D32325430333A34323A32382E3035393532352B30303A3030222C225F47726F7570223A6E756C6C7D','2026-11-22T03:42:28.095799+00:00');
CREATE TABLE external_run_artifact_links (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        run_id TEXT,
                        run_name TEXT,
                        source_project TEXT NOT NULL,
                        source_version_id INTEGER NOT NULL,
                        source_artifact TEXT NOT NULL,
                        source_type TEXT NOT NULL,
                        source_version INTEGER NOT NULL,
                        source_size_bytes INTEGER NOT NULL,
                        direction TEXT NOT NULL CHECK(direction IN ('input', 'output')),
                        created_at TEXT NOT NULL
                    );
CREATE TABLE metrics (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        run_id TEXT NOT NULL,
                        timestamp TEXT NOT NULL,
                        run_name TEXT NOT NULL,
                        step INTEGER NOT NULL,
                        metrics TEXT NOT NULL
                    , log_id TEXT, space_id TEXT);
INSERT INTO "metrics" VALUES(1,'dabd0c1fb367423aaf99ca22c92a8da1','2026-11-22T03:42:27.834504+00:00','first',0,X'7B226C6F7373223A312E302C226163632F6C656674223A302E302C22626164223A312E307D','2a01b7ab185f4f8687699aca86ed130e',NULL);
INSERT INTO "metrics" VALUES(2,'dabd0c1fb367423aaf99ca22c92a8da1','2026-11-22T03:42:27.834504+00:00','first',1,X'7B226C6F7373223A302E352C226163632F6C656674223A302E322C22626164223A312E307D','0553b2398d1f4a76adf8cd62a56fb533',NULL);
INSERT INTO "metrics" VALUES(3,'dabd0c1fb367423aaf99ca22c92a8da1','2026-11-22T03:42:27.834504+00:00','first',2,X'7B226C6F7373223A302E333333333333333333333333333333332C226163632F6C656674223A302E342C22626164223A312E307D','99ee384e0d44492ca62636f0609309d9',NULL);
INSERT INTO "metrics" VALUES(4,'dabd0c1fb367423aaf99ca22c92a8da1','2026-11-22T03:42:27.834504+00:00','first',3,X'7B226C6F7373223A302E32352C226163632F6C656674223A302E362C22626164223A224E614E227D','3a086b9c67234de79c27cc68f19478f9',NULL);
INSERT INTO "metrics" VALUES(5,'dabd0c1fb367423aaf99ca22c92a8da1','2026-11-22T03:42:27.834504+00:00','first',4,X'7B226C6F7373223A302E322C226163632F6C656674223A302E382C22626164223A312E307D','4f07a01311fc41b59643b0cedb59f185',NULL);
INSERT INTO "metrics" VALUES(6,'e79d3f14f79f48d1b12a4db0e91730f4','2026-11-22T03:42:27.970300+00:00','second',0,X'7B226C6F7373223A312E302C226163632F6C656674223A302E302C22626164223A312E307D','3430bf76a1744c568fcdb6492d2f665b',NULL);
INSERT INTO "metrics" VALUES(7,'e79d3f14f79f48d1b12a4db0e91730f4','2026-11-22T03:42:27.970300+00:00','second',1,X'7B226C6F7373223A302E352C226163632F6C656674223A302E322C22626164223A312E307D','ef9dfed8edfe466d930e6f841b7bfa16',NULL);
INSERT INTO "metrics" VALUES(8,'e79d3f14f79f48d1b12a4db0e91730f4','2026-11-22T03:42:27.970300+00:00','second',2,X'7B226C6F7373223A302E333333333333333333333333333333332C226163632F6C656674223A302E342C22626164223A312E307D','9614ed2ceeb64b2d8c6c19a5c74da7eb',NULL);
INSERT INTO "metrics" VALUES(9,'e79d3f14f79f48d1b12a4db0e91730f4','2026-11-22T03:42:27.970300+00:00','second',3,X'7B226C6F7373223A302E32352C226163632F6C656674223A302E362C22626164223A224E614E227D','37bc0f6dcbc84418a34fb9fc6b7aacee',NULL);
INSERT INTO "metrics" VALUES(10,'e79d3f14f79f48d1b12a4db0e91730f4','2026-11-22T03:42:27.970300+00:00','second',4,X'7B226C6F7373223A302E322C226163632F6C656674223A302E382C22626164223A312E307D','f235b6b8922d4436bb9cf84e3ff01190',NULL);
INSERT INTO "metrics" VALUES(11,'9bdb829f88a4453cafe87e5cb96d3fca','2026-11-22T03:42:28.069888+00:00','second',0,X'7B226C6F7373223A31302E307D','a24516272c934771a69b59b708a25ca1',NULL);
INSERT INTO "metrics" VALUES(12,'9bdb829f88a4453cafe87e5cb96d3fca','2026-11-22T03:42:28.069888+00:00','second',1,X'7B226C6F7373223A31312E307D','847b39986ef244bfa5497c8597f47d55',NULL);
INSERT INTO "metrics" VALUES(13,'9bdb829f88a4453cafe87e5cb96d3fca','2026-11-22T03:42:28.069888+00:00','second',2,X'7B226C6F7373223A31322E307D','c6e6c0d58d1c4f7d995229168dd4231f',NULL);
INSERT INTO "metrics" VALUES(14,'9bdb829f88a4453cafe87e5cb96d3fca','2026-11-22T03:42:28.069888+00:00','second',3,X'7B226C6F7373223A31332E307D','3067ef6f375d4c47a28405542c3648f2',NULL);
INSERT INTO "metrics" VALUES(15,'9bdb829f88a4453cafe87e5cb96d3fca','2026-11-22T03:42:28.069888+00:00','second',4,X'7B226C6F7373223A31342E307D','90bd79d5ccc94a028b883f382be4d061',NULL);
CREATE TABLE pending_uploads (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        space_id TEXT NOT NULL,
                        run_id TEXT,
                        run_name TEXT,
                        step INTEGER,
                        file_path TEXT NOT NULL,
                        relative_path TEXT,
                        created_at TEXT NOT NULL
                    , kind TEXT NOT NULL DEFAULT 'media', digest TEXT);
CREATE TABLE project_metadata (
                        key TEXT PRIMARY KEY,
                        value TEXT NOT NULL
                    );
CREATE TABLE run_artifact_links (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        run_id TEXT,
                        run_name TEXT,
                        run_project TEXT,
                        artifact_version_id INTEGER NOT NULL REFERENCES artifact_versions(id),
                        direction TEXT NOT NULL CHECK(direction IN ('input', 'output')),
                        created_at TEXT NOT NULL
                    );
CREATE TABLE system_metrics (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        run_id TEXT NOT NULL,
                        timestamp TEXT NOT NULL,
                        run_name TEXT NOT NULL,
                        metrics TEXT NOT NULL
                    , log_id TEXT, space_id TEXT);
CREATE TABLE traces (
                        id TEXT PRIMARY KEY,
                        run_id TEXT NOT NULL,
                        timestamp TEXT NOT NULL,
                        run_name TEXT NOT NULL,
                        step INTEGER NOT NULL,
                        key TEXT NOT NULL,
                        trace_index INTEGER,
                        messages TEXT NOT NULL,
                        metadata TEXT NOT NULL,
                        search_text TEXT NOT NULL,
                        log_id TEXT,
                        space_id TEXT,
                        spans TEXT NOT NULL DEFAULT '[]'
                    );
CREATE INDEX idx_run_artifact_links_run
                    ON run_artifact_links(run_id, run_name)
                    ;
CREATE INDEX idx_run_artifact_links_name
                    ON run_artifact_links(run_name, run_id)
                    ;
CREATE INDEX idx_run_artifact_links_version
                    ON run_artifact_links(artifact_version_id)
                    ;
CREATE INDEX idx_run_artifact_links_project_run
                    ON run_artifact_links(run_project, run_id, run_name);
CREATE INDEX idx_external_artifact_links_run
                    ON external_run_artifact_links(run_id, run_name);
CREATE UNIQUE INDEX idx_external_artifact_links_unique
                    ON external_run_artifact_links(
                        COALESCE(run_id, ''), COALESCE(run_name, ''),
                        source_project, source_version_id, direction
                    );
CREATE INDEX idx_pending_uploads_kind
                    ON pending_uploads(kind)
                    ;
CREATE INDEX idx_metrics_run_step
                    ON metrics(run_id, step)
                    ;
CREATE INDEX idx_metrics_run_timestamp
                    ON metrics(run_id, timestamp)
                    ;
CREATE INDEX idx_configs_run_name
                    ON configs(run_name)
                    ;
CREATE INDEX idx_system_metrics_run_timestamp
                    ON system_metrics(run_id, timestamp)
                    ;
CREATE INDEX idx_traces_run_step
                    ON traces(run_id, step)
                    ;
CREATE INDEX idx_traces_run_timestamp
                    ON traces(run_id, timestamp)
                    ;
CREATE INDEX idx_traces_search
                    ON traces(search_text)
                    ;
CREATE INDEX idx_alerts_run
                    ON alerts(run_id)
                    ;
CREATE INDEX idx_alerts_timestamp
                    ON alerts(timestamp)
                    ;
CREATE UNIQUE INDEX idx_alerts_alert_id
                    ON alerts(alert_id) WHERE alert_id IS NOT NULL
                    ;
CREATE UNIQUE INDEX idx_metrics_log_id
                        ON metrics(log_id) WHERE log_id IS NOT NULL;
CREATE INDEX idx_metrics_pending
                        ON metrics(space_id) WHERE space_id IS NOT NULL;
CREATE UNIQUE INDEX idx_system_metrics_log_id
                        ON system_metrics(log_id) WHERE log_id IS NOT NULL;
CREATE INDEX idx_system_metrics_pending
                        ON system_metrics(space_id) WHERE space_id IS NOT NULL;
CREATE INDEX idx_metrics_run_record
                        ON metrics(run_id, run_name, timestamp);
CREATE UNIQUE INDEX idx_run_artifact_links_unique
                    ON run_artifact_links(
                        COALESCE(run_project, ''), COALESCE(run_id, ''),
                        COALESCE(run_name, ''), artifact_version_id, direction
                    );
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('metrics',15);
INSERT INTO "sqlite_sequence" VALUES('configs',3);
COMMIT;
