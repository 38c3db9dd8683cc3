"""Files as people have them: CSVs that Python packages ship, read as a person would read them.

Reads each file, unmodified, with the reader of uploads and no options, and compares it with what
pandas reads when it is told the form of the file. The forms that differ from pandas' defaults are
listed here by hand, so that they are no guess of the reader's. Needs the packages of the `bench`
extra.

    python -m benchmarks.files                  # prints every refusal and difference
    python -m benchmarks.files --json files.json statsmodels
"""

import argparse
import io
import json
import math
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from ml.errors import Invalid
from ml.ingest import Options, ingest
from ml.ingest.schema import TABLE, TableSchema

PACKAGES = ("statsmodels", "vega_datasets", "pydataset")
GAPS = ["", "NA", "N/A", "NaN", "nan", "null", "None", "?", "NULL", "n/a", "<NA>", "#N/A", "NaT"]
DATASETS, RESULTS = "statsmodels/datasets", "tests/results"
BLANKS = {"sep": r"\s+"}
NO_HEADER = {"header": None}
SINGLE_QUOTES = {"quotechar": "'"}
FORMS: dict[str, dict[str, Any]] = {
    f"{DATASETS}/anes96/anes96.csv": {"sep": "\t"} | SINGLE_QUOTES,
    f"{DATASETS}/anes96/src/anes96.csv": BLANKS,
    f"{DATASETS}/interest_inflation/E6_jmulti.csv": BLANKS | NO_HEADER,
    f"{DATASETS}/macrodata/src/unemp.csv": {"skiprows": 9, "usecols": range(4)},
    f"{DATASETS}/modechoice/modechoice.csv": {"sep": ";"},
    f"{DATASETS}/scotland/src/scotvote.csv": BLANKS,
    f"{DATASETS}/spector/spector.csv": BLANKS | SINGLE_QUOTES,
    "pydataset/resources/rdata/csv/COUNT/medpar.csv": {"index_col": 0, "dtype": {"provnum": str}},
    "pydataset/resources/rdata/csv/Ecdat/USFinanceIndustry.csv": {"index_col": None},
    "pydataset/resources/rdata/csv/Ecdat/USstateAbbreviations.csv": {
        "index_col": 0,
        "dtype": {"ANSI.digits": str},
    },
}
"""Arguments of `pandas.read_csv` for files that are not a header and rows between commas."""
HEADERLESS = {
    "discrete": "nbinom_resids predict_prob_poisson yhat_poisson",
    "genmod": "enet_binomial enet_poisson gee_linear_1 gee_logistic_1 gee_nested_linear_1 "
    "gee_nominal_1 gee_ordinal_1 gee_poisson_1 igaussident_resids "
    "medparlogresids",
    "nonparametric": "results_kde_fft",
    "regression": "lasso_data",
    "stats": "bootleg",
    "tsa/statespace": "cfa_tvpvar_Omega_11 cfa_tvpvar_Omega_22 cfa_tvpvar_S10 cfa_tvpvar_Si0 "
    "cfa_tvpvar_beta cfa_tvpvar_invP cfa_tvpvar_posterior_mean cfa_tvpvar_state_variates clark1989 "
    "results_wpi1_ar3_matlab_ssm results_wpi1_missing_ar3_matlab_ssm",
    "tsa/stl": "stl_co2",
    "tsa": "ARMLEConstantPredict bds_data bds_results",
}
"""Files of statsmodels' tests without a header, by folder."""
HEADERLESS_BLANKS = {
    "discrete": "phat_mnlogit yhat_mnlogit",
    "duration": "survival_data_1000_10 survival_data_100_5 survival_data_20_1 survival_data_50_1 "
    "survival_data_50_2",
    "tsa": "AROLSConstantPredict AROLSNoConstantPredict",
}
"""The same, divided by blanks."""
for folders, form in ((HEADERLESS, NO_HEADER), (HEADERLESS_BLANKS, BLANKS | NO_HEADER)):
    for folder, names in folders.items():
        FORMS |= {f"statsmodels/{folder}/{RESULTS}/{name}.csv": form for name in names.split()}
FORMS["statsmodels/tsa/vector_ar/tests/Matlab_results/test_coint.csv"] = BLANKS | NO_HEADER
FORMS["statsmodels/nonparametric/tests/Xi_test_data.csv"] = NO_HEADER
ONE_LINE = "is a single line of numbers"
REFUSED = {
    f"statsmodels/{path}": ONE_LINE
    for path in (
        f"discrete/{RESULTS}/mnlogit_resid.csv",
        f"discrete/{RESULTS}/poisson_resid.csv",
        f"tsa/statespace/{RESULTS}/cfa_tvpvar_v10.csv",
        f"tsa/statespace/{RESULTS}/cfa_tvpvar_vi0.csv",
    )
} | {
    f"{DATASETS}/scotland/src/scotland_population.csv": "has footnotes below its rows",
    f"statsmodels/tsa/{RESULTS}/arima212_forecast.csv": "has rows with fewer fields than others",
    "pydataset/resources/rdata/csv/Zelig/friendship.csv": "has no rows",
    "pydataset/resources/rdata/csv/Zelig/sna.ex.csv": "has no rows",
}
"""Files that a person could not read without a question either, and why."""


@dataclass(frozen=True)
class Shipped:
    """A file that a package ships."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Outcome:
    """The outcome of reading a file."""

    name: str
    outcome: str
    """`same`, `refused`, `different`, or `rightly refused`."""
    note: str = ""


def shipped(package: str) -> Iterator[Shipped]:
    """Yield the CSV files of an installed package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is missing; install the extra `bench`")
    folder = Path(spec.origin).parent
    for path in sorted(folder.rglob("*.csv")):
        yield Shipped(f"{package}/{path.relative_to(folder)}", path.read_bytes())
    for path in sorted(folder.glob("*.tar.gz")):
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda member: member.name):
                file = archive.extractfile(member) if member.name.endswith(".csv") else None
                if file is not None and not Path(member.name).name.startswith("._"):
                    yield Shipped(f"{package}/{member.name}", file.read())


def expected(file: Shipped) -> pd.DataFrame:
    """Return the table that a person reads."""
    first = file.content.split(b"\n", 1)[0].strip(b"\xef\xbb\xbf\r")
    arguments: dict[str, Any] = {"keep_default_na": False, "na_values": GAPS, "low_memory": False}
    if first.startswith((b",", b'"",')):
        arguments["index_col"] = 0
    arguments |= FORMS.get(file.name, {})
    return pd.read_csv(io.BytesIO(file.content), **arguments)


def read(file: Shipped, directory: Path) -> tuple[TableSchema, Any]:
    """Return the schema and the rows that the reader of uploads makes of a file."""
    source, into = directory / "source", directory / "into"
    source.write_bytes(file.content)
    into.mkdir(exist_ok=True)
    schema = ingest(source, into, Options())
    assert isinstance(schema, TableSchema)
    table = pq.read_table(into / TABLE)
    for path in into.iterdir():
        path.unlink()
    return schema, table


def compare(file: Shipped, directory: Path) -> Outcome:
    """Read a file both ways."""
    try:
        schema, table = read(file, directory)
    except Invalid as error:
        if file.name in REFUSED:
            return Outcome(file.name, "rightly refused", f"{REFUSED[file.name]}: {error.msg}")
        return Outcome(file.name, "refused", error.msg)
    if file.name in REFUSED:
        return Outcome(file.name, "different", f"read, but {REFUSED[file.name]}")
    try:
        right = expected(file)
    except (ValueError, pd.errors.ParserError) as error:
        return Outcome(file.name, "different", f"read, but pandas says {error}")
    empty = [name for name in right if str(name).startswith("Unnamed") and right[name].isna().all()]
    fault = difference(schema, table, right.drop(columns=empty))
    return Outcome(file.name, "different" if fault else "same", fault)


def difference(schema: TableSchema, table: Any, frame: pd.DataFrame) -> str:
    """Return what differs between a table and the one that is right; empty if nothing does."""
    if (schema.rows, len(schema.columns)) != frame.shape:
        return f"{schema.rows} rows of {len(schema.columns)} columns, right are {frame.shape}"
    for place, column in enumerate(schema.columns):
        right = frame.iloc[:, place]
        name = " ".join(str(right.name).split())
        # pandas names columns without names by number, and repeated ones as a.1.
        is_repeated = re.sub(r"_\d+$", "", column.name) == re.sub(r"\.\d+$", "", name)
        # Of a file without a header, pandas makes the names 0, 1, …
        unnamed = re.fullmatch(r"(?:Unnamed: )?(\d+)", name)
        is_numbered = unnamed is not None and column.name == f"c{int(unnamed[1]) + 1}"
        if column.name != name and not is_repeated and not is_numbered:
            return f"the column {name!r} is called {column.name!r}"
        values = table.column(place)
        if column.missing != right.isna().sum():
            return f"{column.name!r} has {column.missing} gaps, right are {right.isna().sum()}"
        if pd.api.types.is_numeric_dtype(right) and not pd.api.types.is_bool_dtype(right):
            if column.kind != "numeric":
                return f"{column.name!r} is {column.kind}, right is numeric"
            total = math.fsum(v for v in values.to_pylist() if v is not None)
            if not math.isclose(total, math.fsum(right.dropna()), rel_tol=1e-9, abs_tol=1e-9):
                return f"the sum of {column.name!r} is {total}, right is {right.sum()}"
        elif column.kind in ("categorical", "text"):
            texts = ["" if v is None else v for v in values.to_pylist()]
            wanted = ["" if pd.isna(v) else str(v).strip() for v in right]
            if texts != wanted and not pd.api.types.is_bool_dtype(right):
                row = next(i for i, (a, b) in enumerate(zip(texts, wanted, strict=True)) if a != b)
                return f"{column.name!r} has {texts[row]!r} for {wanted[row]!r}"
        elif column.kind != "boolean" and column.kind != "date":
            return f"{column.name!r} is {column.kind}, right is {right.dtype}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as directory:
        for package in arguments.packages:
            for file in shipped(package):
                outcomes.append(compare(file, Path(directory)))
                if outcomes[-1].outcome != "same":
                    print(f"{outcomes[-1].outcome}: {file.name}: {outcomes[-1].note}", flush=True)
    counts = Counter(outcome.outcome for outcome in outcomes)
    print(f"{len(outcomes)} files: {dict(counts)}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))


if __name__ == "__main__":
    main()
