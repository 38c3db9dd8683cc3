BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0006');
CREATE TABLE attempts (
	job_id VARCHAR(40) NOT NULL, 
	attempt INTEGER NOT NULL, 
	trainer VARCHAR(64) NOT NULL, 
	started_at DATETIME NOT NULL, 
	heartbeat_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	outcome VARCHAR(32), 
	CONSTRAINT pk_attempts PRIMARY KEY (job_id, attempt), 
	CONSTRAINT fk_attempts_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "attempts" VALUES('job_01M8FDVPAYGH4NGX0JF4NEBR1X',1,'a trainer','2026-11-27 21:16:25.394468','2026-11-27 21:16:44.081348','2026-11-27 21:16:45.091011','succeeded');
INSERT INTO "attempts" VALUES('job_01M8FDWD4WHV8NYQKRD3KTBKAM',1,'a trainer','2026-11-27 21:16:48.698155','2026-11-27 21:16:48.873441','2026-11-27 21:16:48.888862','succeeded');
INSERT INTO "attempts" VALUES('job_01M8FDWGAKF8DG5CZ1HA91C770',1,'a trainer','2026-11-27 21:16:51.954730','2026-11-27 21:16:52.084182','2026-11-27 21:16:52.109305','succeeded');
INSERT INTO "attempts" VALUES('job_01M8FDWGMYGNWGMG23K8G5CS65',1,'a trainer','2026-11-27 21:16:52.280535','2026-11-27 21:16:52.408269','2026-11-27 21:16:52.433398','succeeded');
CREATE TABLE datasets (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(40) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	target VARCHAR(1000), 
	sha256 VARCHAR(64) NOT NULL, 
	content VARCHAR(64) NOT NULL, 
	bytes BIGINT NOT NULL, 
	options JSON NOT NULL, 
	schema JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT uq_datasets_id UNIQUE (id)
);
INSERT INTO "datasets" VALUES(1,'ds_01M8FDVP5DRG1WY4Y99BFF94N1','homes','price','fdb644dc513e6adc9ddce48d804cb1d5e5f61c03872c819b0eb667b56f3193c7','f83e55331d21859194bea7fdec409883c86effd23e56ebe732bae1ac7a7f1d91',1163,'{"encoding": null, "delimiter": null, "missing": ["-"], "types": {}, "image_size": null}','{"kind": "table", "rows": 40, "columns": [{"kind": "numeric", "name": "zip", "missing": 0, "distinct": 3, "whole": true, "min": 8000.0, "max": 8002.0, "mean": 8000.975, "std": 0.8212033852828421}, {"kind": "numeric", "name": "floor", "missing": 8, "distinct": 4, "whole": true, "min": 1.0, "max": 4.0, "mean": 2.5, "std": 1.118033988749895}, {"kind": "boolean", "name": "lift", "missing": 13, "true": 14}, {"kind": "categorical", "name": "view", "missing": 20, "categories": [{"value": "lake", "count": 10}, {"value": "yard", "count": 10}]}, {"kind": "numeric", "name": "note", "missing": 0, "distinct": 35, "whole": false, "min": -99.0, "max": 19.5, "mean": -6.4125, "std": 39.24998208598318}, {"kind": "numeric", "name": "built", "missing": 0, "distinct": 1, "whole": true, "min": 1999.0, "max": 1999.0, "mean": 1999.0, "std": 0.0}, {"kind": "numeric", "name": "price", "missing": 0, "distinct": 15, "whole": true, "min": 100.0, "max": 142.0, "mean": 120.975, "std": 14.148299367768551}]}','2026-11-27 21:16:25.133455');
INSERT INTO "datasets" VALUES(2,'ds_01M8FDWD2VVK49GJGEK2TT8DB1','views','view','fdb644dc513e6adc9ddce48d804cb1d5e5f61c03872c819b0eb667b56f3193c7','f83e55331d21859194bea7fdec409883c86effd23e56ebe732bae1ac7a7f1d91',1163,'{"encoding": null, "delimiter": null, "missing": ["-"], "types": {}, "image_size": null}','{"kind": "table", "rows": 40, "columns": [{"kind": "numeric", "name": "zip", "missing": 0, "distinct": 3, "whole": true, "min": 8000.0, "max": 8002.0, "mean": 8000.975, "std": 0.8212033852828421}, {"kind": "numeric", "name": "floor", "missing": 8, "distinct": 4, "whole": true, "min": 1.0, "max": 4.0, "mean": 2.5, "std": 1.118033988749895}, {"kind": "boolean", "name": "lift", "missing": 13, "true": 14}, {"kind": "categorical", "name": "view", "missing": 20, "categories": [{"value": "lake", "count": 10}, {"value": "yard", "count": 10}]}, {"kind": "numeric", "name": "note", "missing": 0, "distinct": 35, "whole": false, "min": -99.0, "max": 19.5, "mean": -6.4125, "std": 39.24998208598318}, {"kind": "numeric", "name": "built", "missing": 0, "distinct": 1, "whole": true, "min": 1999.0, "max": 1999.0, "mean": 1999.0, "std": 0.0}, {"kind": "numeric", "name": "price", "missing": 0, "distinct": 15, "whole": true, "min": 100.0, "max": 142.0, "mean": 120.975, "std": 14.148299367768551}]}','2026-11-27 21:16:48.603655');
INSERT INTO "datasets" VALUES(3,'ds_01M8FDWG8N279YME303J15G8KR','marks',NULL,'5dcda7174e6635ebf2d8ffadd2dad43aa185673831f4b846792b8ac9f41005da','43329ccf67d8977b55b6a3f11d93f3ea3113d51ff3fa3638e61fc0f67c3e1853',2094,'{"encoding": null, "delimiter": null, "missing": ["-"], "types": {}, "image_size": null}','{"kind": "images", "rows": 12, "height": 5, "width": 6, "channels": 1, "classes": [{"name": "dark", "count": 6}, {"name": "light", "count": 6}]}','2026-11-27 21:16:51.861275');
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job_id VARCHAR(40) NOT NULL, 
	kind VARCHAR(8) NOT NULL, 
	epoch INTEGER, 
	step BIGINT, 
	data JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT uq_events_job_id_kind_step UNIQUE (job_id, kind, step), 
	CONSTRAINT fk_events_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES(1,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','status',NULL,NULL,'{"status": "queued"}','2026-11-27 21:16:25.366422');
INSERT INTO "events" VALUES(2,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','status',NULL,NULL,'{"status": "running", "attempt": 1}','2026-11-27 21:16:25.412715');
INSERT INTO "events" VALUES(3,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','epoch',1,1,'{"train_loss": 1.1226763725280762, "lr": 0.001}','2026-11-27 21:16:36.362683');
INSERT INTO "events" VALUES(4,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','epoch',2,2,'{"train_loss": 1.119752049446106, "lr": 0.001}','2026-11-27 21:16:36.364367');
INSERT INTO "events" VALUES(5,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','epoch',3,3,'{"train_loss": 1.1168440580368042, "lr": 0.001}','2026-11-27 21:16:36.365872');
INSERT INTO "events" VALUES(6,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','epoch',4,4,'{"train_loss": 1.113952875137329, "lr": 0.001}','2026-11-27 21:16:36.376882');
INSERT INTO "events" VALUES(7,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','epoch',5,5,'{"train_loss": 1.1110785007476807, "lr": 0.001}','2026-11-27 21:16:36.382359');
INSERT INTO "events" VALUES(8,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','status',NULL,NULL,'{"status": "succeeded", "attempt": 1, "model": {"name": "homes", "version": 1}}','2026-11-27 21:16:45.091023');
INSERT INTO "events" VALUES(9,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','status',NULL,NULL,'{"status": "queued"}','2026-11-27 21:16:48.674769');
INSERT INTO "events" VALUES(10,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','status',NULL,NULL,'{"status": "running", "attempt": 1}','2026-11-27 21:16:48.707198');
INSERT INTO "events" VALUES(11,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','epoch',1,1,'{"train_loss": 0.6980327367782593, "lr": 0.001}','2026-11-27 21:16:48.814823');
INSERT INTO "events" VALUES(12,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','epoch',2,2,'{"train_loss": 0.6974225044250488, "lr": 0.001}','2026-11-27 21:16:48.817008');
INSERT INTO "events" VALUES(13,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','epoch',3,3,'{"train_loss": 0.6968144774436951, "lr": 0.001}','2026-11-27 21:16:48.819937');
INSERT INTO "events" VALUES(14,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','epoch',4,4,'{"train_loss": 0.696208655834198, "lr": 0.001}','2026-11-27 21:16:48.821959');
INSERT INTO "events" VALUES(15,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','epoch',5,5,'{"train_loss": 0.6956050395965576, "lr": 0.001}','2026-11-27 21:16:48.834137');
INSERT INTO "events" VALUES(16,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','status',NULL,NULL,'{"status": "succeeded", "attempt": 1, "model": {"name": "views", "version": 1}}','2026-11-27 21:16:48.888870');
INSERT INTO "events" VALUES(17,'job_01M8FDWGAKF8DG5CZ1HA91C770','status',NULL,NULL,'{"status": "queued"}','2026-11-27 21:16:51.925681');
INSERT INTO "events" VALUES(18,'job_01M8FDWGAKF8DG5CZ1HA91C770','status',NULL,NULL,'{"status": "running", "attempt": 1}','2026-11-27 21:16:51.956735');
INSERT INTO "events" VALUES(19,'job_01M8FDWGAKF8DG5CZ1HA91C770','epoch',1,1,'{"train_loss": 0.7547060251235962, "lr": 0.001}','2026-11-27 21:16:52.021608');
INSERT INTO "events" VALUES(20,'job_01M8FDWGAKF8DG5CZ1HA91C770','epoch',2,2,'{"train_loss": 0.7470735907554626, "lr": 0.001}','2026-11-27 21:16:52.026489');
INSERT INTO "events" VALUES(21,'job_01M8FDWGAKF8DG5CZ1HA91C770','epoch',3,3,'{"train_loss": 0.7395282983779907, "lr": 0.001}','2026-11-27 21:16:52.027890');
INSERT INTO "events" VALUES(22,'job_01M8FDWGAKF8DG5CZ1HA91C770','epoch',4,4,'{"train_loss": 0.7320846319198608, "lr": 0.001}','2026-11-27 21:16:52.029143');
INSERT INTO "events" VALUES(23,'job_01M8FDWGAKF8DG5CZ1HA91C770','epoch',5,5,'{"train_loss": 0.7247434854507446, "lr": 0.001}','2026-11-27 21:16:52.040400');
INSERT INTO "events" VALUES(24,'job_01M8FDWGAKF8DG5CZ1HA91C770','status',NULL,NULL,'{"status": "succeeded", "attempt": 1, "model": {"name": "marks", "version": 1}}','2026-11-27 21:16:52.109313');
INSERT INTO "events" VALUES(25,'job_01M8FDWGMYGNWGMG23K8G5CS65','status',NULL,NULL,'{"status": "queued"}','2026-11-27 21:16:52.257065');
INSERT INTO "events" VALUES(26,'job_01M8FDWGMYGNWGMG23K8G5CS65','status',NULL,NULL,'{"status": "running", "attempt": 1}','2026-11-27 21:16:52.288302');
INSERT INTO "events" VALUES(27,'job_01M8FDWGMYGNWGMG23K8G5CS65','epoch',1,1,'{"train_loss": 3.27363657951355, "lr": 0.001}','2026-11-27 21:16:52.348276');
INSERT INTO "events" VALUES(28,'job_01M8FDWGMYGNWGMG23K8G5CS65','epoch',2,2,'{"train_loss": 3.2668960094451904, "lr": 0.001}','2026-11-27 21:16:52.349178');
INSERT INTO "events" VALUES(29,'job_01M8FDWGMYGNWGMG23K8G5CS65','epoch',3,3,'{"train_loss": 3.260164260864258, "lr": 0.001}','2026-11-27 21:16:52.349929');
INSERT INTO "events" VALUES(30,'job_01M8FDWGMYGNWGMG23K8G5CS65','epoch',4,4,'{"train_loss": 3.253441333770752, "lr": 0.001}','2026-11-27 21:16:52.357815');
INSERT INTO "events" VALUES(31,'job_01M8FDWGMYGNWGMG23K8G5CS65','epoch',5,5,'{"train_loss": 3.2467265129089355, "lr": 0.001}','2026-11-27 21:16:52.358746');
INSERT INTO "events" VALUES(32,'job_01M8FDWGMYGNWGMG23K8G5CS65','status',NULL,NULL,'{"status": "succeeded", "attempt": 1, "model": {"name": "plane", "version": 1}}','2026-11-27 21:16:52.433408');
CREATE TABLE jobs (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(40) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	spec JSON NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	attempt INTEGER NOT NULL, 
	device VARCHAR(16), 
	epoch INTEGER NOT NULL, 
	step BIGINT NOT NULL, 
	steps BIGINT, 
	metrics JSON NOT NULL, 
	model_version INTEGER, 
	error JSON, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	training_at DATETIME, 
	finished_at DATETIME, options JSON DEFAULT '{}' NOT NULL, rank INTEGER DEFAULT '0' NOT NULL, idempotency_key VARCHAR(255), request_sha256 VARCHAR(64) DEFAULT '' NOT NULL, requested_action VARCHAR(16), requested_at DATETIME, not_before DATETIME, lease_expires_at DATETIME, crashes INTEGER DEFAULT '0' NOT NULL, engine VARCHAR(32), training_step BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT uq_jobs_id UNIQUE (id)
);
INSERT INTO "jobs" VALUES(1,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','homes','{"dataset": {"kind": "upload", "id": "ds_01M8FDVP5DRG1WY4Y99BFF94N1", "target": "price", "task": "regression", "split_by": null, "features": {"zip": "categorical", "floor": "numeric", "lift": "boolean"}, "resolved": {"name": "homes", "content": "f83e55331d21859194bea7fdec409883c86effd23e56ebe732bae1ac7a7f1d91", "view": {"kind": "table", "target": "price", "task": "regression", "classes": [], "features": {"zip": "categorical", "floor": "numeric", "lift": "boolean"}, "categories": {"zip": 3}, "width": 7, "split_by": null, "rows": {"train": 40}}}}, "name": "homes", "split": {"validation": 0.0, "test": null, "stratify": false, "folds": null, "seed": 0}, "model": {"kind": "linear"}, "optimizer": {"kind": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.0}, "loss": "mse", "schedule": {"kind": "constant"}, "clip_grad_norm": null, "patience": null, "min_delta": 0.0, "keep_best": false, "epochs": 5, "batch_size": 64, "seed": 0, "device": "auto", "precision": "float32", "compile": false, "report_every": 100, "detect_anomaly": false}','succeeded',1,'cpu',5,5,5,'{"train_loss": 1.1110785007476807, "lr": 0.001, "test_loss": 1.699769139289856, "test_mse": 301.0168429560771, "test_mae": 16.371512337961246, "test_rmse": 17.34983697203167, "test_r2": -0.1056633576298307}',1,NULL,'2026-11-27 21:16:25.310779','2026-11-27 21:16:25.394468','2026-11-27 21:16:36.344737','2026-11-27 21:16:45.091023','{"priority": 0, "not_before": null, "timeout_seconds": null, "max_attempts": 3, "checkpoint_seconds": 30.0, "checkpoint_epochs": null}',0,NULL,'9aeee0fbfc5f97824bb06eb7879454338c3690a8a8fb35f9a7e0f51064a2a13e',NULL,NULL,NULL,NULL,0,'resident+manual',0);
INSERT INTO "jobs" VALUES(2,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','views','{"dataset": {"kind": "upload", "id": "ds_01M8FDWD2VVK49GJGEK2TT8DB1", "target": "view", "task": "classification", "split_by": null, "features": null, "resolved": {"name": "views", "content": "f83e55331d21859194bea7fdec409883c86effd23e56ebe732bae1ac7a7f1d91", "view": {"kind": "table", "target": "view", "task": "classification", "classes": ["lake", "yard"], "features": {"zip": "numeric", "floor": "numeric", "lift": "boolean", "note": "numeric", "built": "numeric", "price": "numeric"}, "categories": {}, "width": 8, "split_by": null, "rows": {"train": 20}}}}, "name": "views", "split": {"validation": 0.0, "test": null, "stratify": false, "folds": null, "seed": 0}, "model": {"kind": "mlp", "hidden": [4], "activation": "relu", "dropout": 0.0, "embedding": 2}, "optimizer": {"kind": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.0}, "loss": "cross_entropy", "schedule": {"kind": "constant"}, "clip_grad_norm": null, "patience": null, "min_delta": 0.0, "keep_best": false, "epochs": 5, "batch_size": 64, "seed": 0, "device": "auto", "precision": "float32", "compile": false, "report_every": 100, "detect_anomaly": false}','succeeded',1,'cpu',5,5,5,'{"train_loss": 0.6956050395965576, "lr": 0.001, "test_loss": 0.6835818290710449, "test_accuracy": 0.75}',1,NULL,'2026-11-27 21:16:48.669202','2026-11-27 21:16:48.698155','2026-11-27 21:16:48.803108','2026-11-27 21:16:48.888870','{"priority": 0, "not_before": null, "timeout_seconds": null, "max_attempts": 3, "checkpoint_seconds": 30.0, "checkpoint_epochs": null}',0,NULL,'d1123c29d4674c280eb72265855611cc34d08f977160de53f229fea9d36ee04e',NULL,NULL,NULL,NULL,0,'resident',0);
INSERT INTO "jobs" VALUES(3,'job_01M8FDWGAKF8DG5CZ1HA91C770','marks','{"dataset": {"kind": "upload", "id": "ds_01M8FDWG8N279YME303J15G8KR", "target": null, "task": null, "split_by": null, "features": null, "resolved": {"name": "marks", "content": "43329ccf67d8977b55b6a3f11d93f3ea3113d51ff3fa3638e61fc0f67c3e1853", "view": {"kind": "images", "form": {"height": 5, "width": 6, "channels": 1}, "classes": ["dark", "light"], "rows": 12}}}, "name": "marks", "split": {"validation": 0.0, "test": null, "stratify": false, "folds": null, "seed": 0}, "model": {"kind": "mlp", "hidden": [4], "activation": "relu", "dropout": 0.0, "embedding": null}, "optimizer": {"kind": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.0}, "loss": "cross_entropy", "schedule": {"kind": "constant"}, "clip_grad_norm": null, "patience": null, "min_delta": 0.0, "keep_best": false, "epochs": 5, "batch_size": 64, "seed": 0, "device": "auto", "precision": "float32", "compile": false, "report_every": 100, "detect_anomaly": false}','succeeded',1,'cpu',5,5,5,'{"train_loss": 0.7247434854507446, "lr": 0.001, "test_loss": 0.7253519296646118, "test_accuracy": 0.5}',1,NULL,'2026-11-27 21:16:51.923608','2026-11-27 21:16:51.954730','2026-11-27 21:16:52.005975','2026-11-27 21:16:52.109313','{"priority": 0, "not_before": null, "timeout_seconds": null, "max_attempts": 3, "checkpoint_seconds": 30.0, "checkpoint_epochs": null}',0,NULL,'76251eaf89b0efd2c5b15a766f805cd4644d995c0f360362c958e95c3caaf38d',NULL,NULL,NULL,NULL,0,'resident+manual',0);
INSERT INTO "jobs" VALUES(4,'job_01M8FDWGMYGNWGMG23K8G5CS65','plane','{"dataset": {"kind": "synthetic", "features": {"a": {"uniform": [0.0, 1.0]}, "b": {"uniform": [0.0, 1.0]}}, "target": "3*a - b", "noise": 0.0, "size": 50, "seed": 0, "standardize": false}, "name": "plane", "split": {"validation": 0.0, "test": null, "stratify": false, "folds": null, "seed": 0}, "model": {"kind": "linear"}, "optimizer": {"kind": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.0}, "loss": "mse", "schedule": {"kind": "constant"}, "clip_grad_norm": null, "patience": null, "min_delta": 0.0, "keep_best": false, "epochs": 5, "batch_size": 64, "seed": 0, "device": "auto", "precision": "float32", "compile": false, "report_every": 100, "detect_anomaly": false}','succeeded',1,'cpu',5,5,5,'{"train_loss": 3.2467265129089355, "lr": 0.001, "test_loss": 1.1404234170913696, "test_mse": 1.140423441178746, "test_mae": 0.9517613738775254, "test_rmse": 1.0679061012929676, "test_r2": -4.351821101068174}',1,NULL,'2026-11-27 21:16:52.255053','2026-11-27 21:16:52.280535','2026-11-27 21:16:52.337613','2026-11-27 21:16:52.433408','{"priority": 0, "not_before": null, "timeout_seconds": null, "max_attempts": 3, "checkpoint_seconds": 30.0, "checkpoint_epochs": null}',0,NULL,'8ff2c7e1584e7a71b06a75b88674ba8fbfe91300b7388bf6aef4d4fd09036bf2',NULL,NULL,NULL,NULL,0,'resident+manual',0);
CREATE TABLE model_aliases (
	name VARCHAR(64) NOT NULL, 
	alias VARCHAR(64) NOT NULL, 
	version INTEGER NOT NULL, 
	etag VARCHAR(32) NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_model_aliases PRIMARY KEY (name, alias), 
	CONSTRAINT fk_model_aliases_name FOREIGN KEY(name, version) REFERENCES model_versions (name, version)
);
CREATE TABLE "model_versions" (
	id INTEGER NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	version INTEGER NOT NULL, 
	job_id VARCHAR(40) NOT NULL, 
	directory VARCHAR(255) NOT NULL, 
	manifest JSON NOT NULL, 
	created_at DATETIME NOT NULL, deleted_at DATETIME, 
	CONSTRAINT pk_model_versions PRIMARY KEY (id), 
	CONSTRAINT uq_model_versions_name_version UNIQUE (name, version), 
	CONSTRAINT uq_model_versions_job_id UNIQUE (job_id)
);
INSERT INTO "model_versions" VALUES(1,'homes',1,'job_01M8FDVPAYGH4NGX0JF4NEBR1X','job_01M8FDVPAYGH4NGX0JF4NEBR1X-1','{"format": 1, "signature": {"inputs": {"kind": "features", "names": ["zip", "floor", "lift"], "encoding": {"booleans": ["lift"], "categories": {"zip": ["8000", "8001", "8002"]}, "gaps": ["floor", "lift"], "width": 7}}, "output": {"kind": "value", "name": "price", "offset": 119.96874999999999, "scale": 13.307620878184803, "size": 1}}, "spec": {"dataset": {"kind": "upload", "id": "ds_01M8FDVP5DRG1WY4Y99BFF94N1", "target": "price", "task": "regression", "split_by": null, "features": {"zip": "categorical", "floor": "numeric", "lift": "boolean"}, "resolved": {"name": "homes", "content": "f83e55331d21859194bea7fdec409883c86effd23e56ebe732bae1ac7a7f1d91", "view": {"kind": "table", "target": "price", "task": "regression", "classes": [], "features": {"zip": "categorical", "floor": "numeric", "lift": "boolean"}, "categories": {"zip": 3}, "width": 7, "split_by": null, "rows": {"train": 40}}}}, "name": "homes", "split": {"validation": 0.0, "test": null, "stratify": false, "folds": null, "seed": 0}, "model": {"kind": "linear"}, "optimizer": {"kind": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.0}, "loss": "mse", "schedule": {"kind": "constant"}, "clip_grad_norm": null, "patience": null, "min_delta": 0.0, "keep_best": false, "epochs": 5, "batch_size": 64, "seed": 0, "device": "auto", "precision": "float32", "compile": false, "report_every": 100, "detect_anomaly": false}, "structure": "Sequential(\n  (preprocessing): Encode(2 numbers, 3 values of categories, 2 gaps)\n  (network): Linear(\n    (0): Flatten(start_dim=1, end_dim=-1)\n    (1): Linear(in_features=7, out_features=1, bias=True)\n  )\n)", "parameters": [{"name": "network.1.weight", "shape": [1, 7]}, {"name": "network.1.bias", "shape": [1]}], "parameter_count": 8, "linear": {"weights": {"floor": 0.02937048940823836, "lift": 5.2684153586514615, "zip=8000": -4.206224871739768, "zip=8001": -3.635114619005753, "zip=8002": -2.0036728225210845, "floor is missing": 1.3539161173523422, "lift is missing": 2.5826614706944895}, "bias": 121.07007800459597}, "metrics": {"test_loss": 1.699769139289856, "test_mse": 301.0168429560771, "test_mae": 16.371512337961246, "test_rmse": 17.34983697203167, "test_r2": -0.1056633576298307}, "data_sha256": "f7de4dd9e1df55d8465adc69fac27d4af282749b103365bf51057f2e09e49042", "weights_sha256": "1e52aaaac64249e011434dc9b9c1b279b8f20022055ee5572e5f5e635016c766", "torch_version": "2.15.0+cu132", "epochd_version": "0.1.0", "device": "cpu"}','2026-11-27 21:16:45.090591',NULL);
INSERT INTO "model_versions" VALUES(2,'views',1,'job_01M8FDWD4WHV8NYQKRD3KTBKAM','job_01M8FDWD4WHV8NYQKRD3KTBKAM-1','{"format": 1, "signature": {"inputs": {"kind": "features", "names": ["zip", "floor", "lift", "note", "built", "price"], "encoding": {"booleans": ["lift"], "categories": {}, "gaps": ["floor", "lift"], "width": 8}}, "output": {"kind": "classes", "names": ["lake", "yard"]}}, "spec": {"dataset": {"kind": "upload", "id": "ds_01M8FDWD2VVK49GJGEK2TT8DB1", "target": "view", "task": "classification", "split_by": null, "features": null, "resolved": {"name": "views", "content": "f83e55331d21859194bea7fdec409883c86effd23e56ebe732bae1ac7a7f1d91", "view": {"kind": "table", "target": "view", "task": "classification", "classes": ["lake", "yard"], "features": {"zip": "numeric", "floor": "numeric", "lift": "boolean", "note": "numeric", "built": "numeric", "price": "numeric"}, "categories": {}, "width": 8, "split_by": null, "rows": {"train": 20}}}}, "name": "views", "split": {"validation": 0.0, "test": null, "stratify": false, "folds": null, "seed": 0}, "model": {"kind": "mlp", "hidden": [4], "activation": "relu", "dropout": 0.0, "embedding": 2}, "optimizer": {"kind": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.0}, "loss": "cross_entropy", "schedule": {"kind": "constant"}, "clip_grad_norm": null, "patience": null, "min_delta": 0.0, "keep_best": false, "epochs": 5, "batch_size": 64, "seed": 0, "device": "auto", "precision": "float32", "compile": false, "report_every": 100, "detect_anomaly": false}, "structure": "Sequential(\n  (preprocessing): Encode(6 numbers, 0 values of categories, 2 gaps)\n  (network): MLP(\n    (0): Embed(\n      0 values of 0 columns, 8 numbers out\n      (tables): ParameterList()\n    )\n    (1): Linear(in_features=8, out_features=4, bias=True)\n    (2): ReLU()\n    (3): Linear(in_features=4, out_features=2, bias=True)\n  )\n)", "parameters": [{"name": "network.1.weight", "shape": [4, 8]}, {"name": "network.1.bias", "shape": [4]}, {"name": "network.3.weight", "shape": [2, 4]}, {"name": "network.3.bias", "shape": [2]}], "parameter_count": 46, "linear": null, "metrics": {"test_loss": 0.6835818290710449, "test_accuracy": 0.75}, "data_sha256": "e0bd5bd4a9e7401399200ce975ab1c460bc9ead9e56369e1da060ac75e69735e", "weights_sha256": "e46cf5a09d4e77ae704274894f5b5bc2025411415abd5a8548e56c69d61801f7", "torch_version": "2.15.0+cu132", "epochd_version": "0.1.0", "device": "cpu"}','2026-11-27 21:16:48.888594',NULL);
INSERT INTO "model_versions" VALUES(3,'marks',1,'job_01M8FDWGAKF8DG5CZ1HA91C770','job_01M8FDWGAKF8DG5CZ1HA91C770-1','{"format": 1, "signature": {"inputs": {"kind": "images", "form": {"height": 5, "width": 6, "channels": 1}}, "output": {"kind": "classes", "names": ["dark", "light"]}}, "spec": {"dataset": {"kind": "upload", "id": "ds_01M8FDWG8N279YME303J15G8KR", "target": null, "task": null, "split_by": null, "features": null, "resolved": {"name": "marks", "content": "43329ccf67d8977b55b6a3f11d93f3ea3113d51ff3fa3638e61fc0f67c3e1853", "view": {"kind": "images", "form": {"height": 5, "width": 6, "channels": 1}, "classes": ["dark", "light"], "rows": 12}}}, "name": "marks", "split": {"validation": 0.0, "test": null, "stratify": false, "folds": null, "seed": 0}, "model": {"kind": "mlp", "hidden": [4], "activation": "relu", "dropout": 0.0, "embedding": null}, "optimizer": {"kind": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.0}, "loss": "cross_entropy", "schedule": {"kind": "constant"}, "clip_grad_norm": null, "patience": null, "min_delta": 0.0, "keep_best": false, "epochs": 5, "batch_size": 64, "seed": 0, "device": "auto", "precision": "float32", "compile": false, "report_every": 100, "detect_anomaly": false}, "structure": "Sequential(\n  (preprocessing): Standardize(mean=0.4549, std=0.2549, unit=255)\n  (network): MLP(\n    (0): Flatten(start_dim=1, end_dim=-1)\n    (1): Linear(in_features=30, out_features=4, bias=True)\n    (2): ReLU()\n    (3): Linear(in_features=4, out_features=2, bias=True)\n  )\n)", "parameters": [{"name": "network.1.weight", "shape": [4, 30]}, {"name": "network.1.bias", "shape": [4]}, {"name": "network.3.weight", "shape": [2, 4]}, {"name": "network.3.bias", "shape": [2]}], "parameter_count": 134, "linear": null, "metrics": {"test_loss": 0.7253519296646118, "test_accuracy": 0.5}, "data_sha256": "a87557d642db6b6e49241c80cf0d377ee81a520ef0422b524877ddafbaa47834", "weights_sha256": "eec49fbf365cb3ac96192c87514fecdde105a7e2f8067e3516d383c6c984df7e", "torch_version": "2.15.0+cu132", "epochd_version": "0.1.0", "device": "cpu"}','2026-11-27 21:16:52.109077',NULL);
INSERT INTO "model_versions" VALUES(4,'plane',1,'job_01M8FDWGMYGNWGMG23K8G5CS65','job_01M8FDWGMYGNWGMG23K8G5CS65-1','{"format": 1, "signature": {"inputs": {"kind": "features", "names": ["a", "b"], "encoding": null}, "output": {"kind": "value", "name": "y", "offset": 0.0, "scale": 1.0, "size": 1}}, "spec": {"dataset": {"kind": "synthetic", "features": {"a": {"uniform": [0.0, 1.0]}, "b": {"uniform": [0.0, 1.0]}}, "target": "3*a - b", "noise": 0.0, "size": 50, "seed": 0, "standardize": false}, "name": "plane", "split": {"validation": 0.0, "test": null, "stratify": false, "folds": null, "seed": 0}, "model": {"kind": "linear"}, "optimizer": {"kind": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-08, "weight_decay": 0.0}, "loss": "mse", "schedule": {"kind": "constant"}, "clip_grad_norm": null, "patience": null, "min_delta": 0.0, "keep_best": false, "epochs": 5, "batch_size": 64, "seed": 0, "device": "auto", "precision": "float32", "compile": false, "report_every": 100, "detect_anomaly": false}, "structure": "Sequential(\n  (preprocessing): Identity()\n  (network): Linear(\n    (0): Flatten(start_dim=1, end_dim=-1)\n    (1): Linear(in_features=2, out_features=1, bias=True)\n  )\n)", "parameters": [{"name": "network.1.weight", "shape": [1, 2]}, {"name": "network.1.bias", "shape": [1]}], "parameter_count": 3, "linear": {"weights": {"a": -0.000294459518045187, "b": 0.38432222604751587}, "bias": -0.576981246471405}, "metrics": {"test_loss": 1.1404234170913696, "test_mse": 1.140423441178746, "test_mae": 0.9517613738775254, "test_rmse": 1.0679061012929676, "test_r2": -4.351821101068174}, "data_sha256": "247dc6da667b5e6e90013b0707af1ccbd0e3cbd958c613e97d2262422f8cfe38", "weights_sha256": "5af21610e7c525327bfb2c982650556f430e80c75f3b9ed1d1d82d307421987f", "torch_version": "2.15.0+cu132", "epochd_version": "0.1.0", "device": "cpu"}','2026-11-27 21:16:52.433177',NULL);
CREATE TABLE unloaded_models (
	name VARCHAR(64) NOT NULL, 
	unloaded_at DATETIME NOT NULL, 
	CONSTRAINT pk_unloaded_models PRIMARY KEY (name)
);
CREATE INDEX ix_jobs_status_seq ON jobs (status, seq);
CREATE INDEX ix_jobs_name_seq ON jobs (name, seq);
CREATE INDEX ix_jobs_status_rank_seq ON jobs (status, rank, seq);
CREATE UNIQUE INDEX ix_jobs_idempotency_key ON jobs (idempotency_key);
CREATE INDEX ix_events_job_id_id ON events (job_id, id);
CREATE INDEX ix_datasets_content ON datasets (content);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',32);
INSERT INTO "sqlite_sequence" VALUES('datasets',3);
INSERT INTO "sqlite_sequence" VALUES('jobs',4);
COMMIT;
