"""BARS settings on Frappe_x1 (rebuilt train): python benchmarks/quality_frappe.py --data FOLDER."""

from clicksmith.bench.settings import FOLDER
from quality import main

if __name__ == "__main__":
    main("frappe_x1_rebuilt", FOLDER / "frappe_x1.toml", "quality_frappe.json")
