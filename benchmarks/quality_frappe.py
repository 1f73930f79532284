"""BARS settings on Frappe_x1 (rebuilt train): python benchmarks/quality_frappe.py --data FOLDER."""

from quality import main

if __name__ == "__main__":
    main("frappe_x1_rebuilt", "frappe_x1.toml", "quality_frappe.json")
