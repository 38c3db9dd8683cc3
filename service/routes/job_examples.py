"""Jobs as examples of `POST /jobs`."""

EXAMPLES = {
    "MNIST, all defaults": {"value": {"dataset": {"kind": "mnist"}}},
    "MNIST, the tutorial's settings": {
        "value": {
            "name": "mnist",
            "dataset": {"kind": "mnist"},
            "model": {"kind": "mlp", "hidden": [512, 256], "dropout": [0.2, 0.0]},
            "optimizer": {"kind": "adam", "lr": 0.001},
            "epochs": 10,
            "batch_size": 64,
            "seed": 0,
            "device": "auto",
        }
    },
    "MNIST, a convolutional network and augmented images": {
        "value": {
            "name": "digits",
            "dataset": "mnist",
            "model": {"kind": "cnn", "channels": [32, 64, 128]},
            "augment": [{"crop": 2}, {"rotate": 10}, {"scale": 0.1}],
            "optimizer": {"kind": "adam", "lr": 0.003},
            "schedule": "one_cycle",
            "epochs": 10,
            "batch_size": 128,
        }
    },
    "A line": {
        "value": {
            "name": "line",
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"linspace": [0, 10]}},
                "target": "3*x + 2",
                "noise": 2.0,
                "size": 100,
            },
            "model": {"kind": "linear"},
            "optimizer": {"kind": "adam", "lr": 0.1},
            "epochs": 200,
            "batch_size": 100,
        }
    },
    "A table, all defaults": {
        "value": {"dataset": {"kind": "upload", "id": "ds_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"}}
    },
    "A table, several targets": {
        "value": {
            "dataset": {
                "kind": "upload",
                "id": "ds_01JD3V0M8Q6W4N2X7Y9Z5K1T3B",
                "target": ["height", "weight"],
            }
        }
    },
    "Layers of your own": {
        "value": {
            "name": "digits",
            "dataset": "mnist",
            "model": {
                "kind": "sequential",
                "layers": [
                    "flatten",
                    {"linear": 128, "name": "fc1"},
                    "relu",
                    {"dropout": 0.2},
                    {"residual": [{"linear": 128}, "relu"]},
                ],
            },
            "optimizer": "adam",
            "schedule": "cosine",
        }
    },
    "Ten minutes, with averaged weights": {
        "value": {
            "dataset": "fashion_mnist",
            "model": "cnn",
            "average": {"kind": "ema", "decay": 0.999},
            "split": {"validation": 0.1},
            "keep_best": True,
            "epochs": 100,
            "max_seconds": 600,
            "test_every": 5,
        }
    },
    "A fit, drawn every twenty epochs": {
        "value": {
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"linspace": [0, 10]}},
                "target": "3*x + 2",
                "noise": 2.0,
                "size": 100,
            },
            "optimizer": {"kind": "adam", "lr": 0.1},
            "epochs": 200,
            "batch_size": 100,
            "snapshot_every": 20,
        }
    },
    "After other jobs, giving way to those of others": {
        "value": {
            "dataset": "fashion_mnist",
            "model": "cnn",
            "epochs": 50,
            "preemptible": True,
            "after": ["job_01JD3V0M8Q6W4N2X7Y9Z5K1T3B"],
        }
    },
    "Two classes from a formula": {
        "value": {
            "name": "circle",
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"uniform": [-1.5, 1.5]}, "y": {"uniform": [-1.5, 1.5]}},
                "target": "x**2 + y**2 < 1",
            },
            "model": "mlp",
        }
    },
    "Rare classes, weighted": {
        "value": {
            "name": "circle",
            "dataset": {
                "kind": "synthetic",
                "features": {"x": {"uniform": [-4, 4]}, "y": {"uniform": [-4, 4]}},
                "target": "x**2 + y**2 < 0.4",
                "size": 4000,
            },
            "model": {"kind": "mlp", "hidden": [32]},
            "loss": {"kind": "cross_entropy", "class_weights": "balanced"},
            "optimizer": {"kind": "rmsprop", "lr": 0.01},
            "schedule": {"kind": "cosine", "warmup": 0.1},
        }
    },
    "A plane": {
        "value": {
            "name": "plane",
            "dataset": {
                "kind": "synthetic",
                "features": {
                    "a": {"uniform": [0, 1]},
                    "b": {"uniform": [0, 1]},
                    "c": {"uniform": [0, 1]},
                },
                "target": "2*a + 3*b - 1.5*c",
                "size": 1000,
            },
            "model": {"kind": "linear"},
            "optimizer": {"kind": "sgd", "lr": 0.01},
            "loss": "mse",
            "epochs": 100,
            "batch_size": 32,
        }
    },
}
CHANGES = {
    "Sooner": {"value": {"priority": 10}},
    "Another name": {"value": {"name": "digits"}},
}
