"""AutoInt's protocol on MovieLens-1M: python benchmarks/quality_movielens.py --data FOLDER."""

from quality import HERE, main

if __name__ == "__main__":
    main("movielens_1m", HERE / "settings" / "movielens_1m.toml", "quality_movielens.json")
